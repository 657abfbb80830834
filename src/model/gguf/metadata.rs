//! The contents of a header: lookup of keys, counts and the kind of file.

use std::borrow::Cow;

use indexmap::IndexMap;

use super::value::Value;
use super::{TensorInfo, file_type};

/// All key/value pairs and tensor descriptions of a GGUF file.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// Keys in file order.
    pub values: IndexMap<Box<str>, Value>,
    pub tensors: Vec<TensorInfo>,
    /// Bytes of the whole file.
    pub file_size: u64,
    /// The texts of the tokens that keys refer to, if the vocabulary itself is not kept.
    pub(super) special_tokens: Vec<(u64, Box<str>)>,
}

/// What a file is for, decided as Ollama does at create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Model,
    Projector,
    Adapter,
}

/// The key of the vocabulary.
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";

impl Metadata {
    /// `general.architecture`, or empty.
    pub fn architecture(&self) -> &str {
        self.values
            .get("general.architecture")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Looks a key up; a leading `.` means "after the architecture": `.context_length`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(&*self.whole(key))
    }

    /// The key as the file spells it.
    pub(super) fn whole<'a>(&self, key: &'a str) -> Cow<'a, str> {
        if key.starts_with('.') {
            format!("{}{key}", self.architecture()).into()
        } else {
            key.into()
        }
    }

    /// An unsigned number; for an array of numbers, the largest.
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Numbers(numbers) => numbers.iter().filter_map(|value| value.as_u64()).max(),
            value => value.as_u64(),
        }
    }

    pub fn string(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    pub fn boolean(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// The number of tokens in the vocabulary.
    pub fn n_tokens(&self) -> Option<u64> {
        self.get(TOKENS)?.n_elements()
    }

    /// The text of a special token by its key: `tokenizer.ggml.bos_token_id`.
    pub fn special_token(&self, key: &str) -> Option<Cow<'_, str>> {
        let id = self.get(key)?.as_u64()?;
        if let Some(Value::Texts(tokens)) = self.get(TOKENS) {
            return tokens.get(usize::try_from(id).ok()?);
        }
        let mut known = self.special_tokens.iter();
        known
            .find(|(known, _)| *known == id)
            .map(|(_, text)| Cow::Borrowed(&**text))
    }

    /// A tensor by its exact name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// Whether any tensor's name starts with one of these prefixes.
    pub fn has_tensor_prefix(&self, prefixes: &[&str]) -> bool {
        self.tensors.iter().any(|tensor| {
            prefixes
                .iter()
                .any(|prefix| tensor.name.starts_with(prefix))
        })
    }

    /// Number of weights, counted over the tensors.
    pub fn parameter_count(&self) -> u64 {
        self.tensors
            .iter()
            .fold(0, |sum, tensor| sum.saturating_add(tensor.elements()))
    }

    /// Bytes of the tensors with certain names; saturates.
    pub fn bytes_of(&self, is_one: impl Fn(&str) -> bool) -> u64 {
        let tensors = self.tensors.iter().filter(|tensor| is_one(&tensor.name));
        let bytes = tensors.filter_map(TensorInfo::size_bytes);
        bytes.fold(0, u64::saturating_add)
    }

    /// The quantization's name (`Q4_K_M`) from `general.file_type`, or `unknown`.
    pub fn file_type(&self) -> String {
        let code = self.values.get("general.file_type").and_then(Value::as_u64);
        code.and_then(file_type::name)
            .unwrap_or("unknown")
            .to_owned()
    }

    /// What the file is for.
    pub fn kind(&self) -> FileKind {
        let flag = |key: &str| self.get(key).and_then(Value::as_bool) == Some(true);
        match self.string("general.type") {
            Some("adapter") => return FileKind::Adapter,
            Some("projector" | "mmproj") => return FileKind::Projector,
            _ => {}
        }
        if self.get(".block_count").is_some() {
            return FileKind::Model;
        }
        let clip = self.architecture() == "clip"
            && (flag("clip.has_vision_encoder") || flag("clip.has_audio_encoder"));
        if clip || self.get(".vision.block_count").is_some() {
            FileKind::Projector
        } else {
            FileKind::Model
        }
    }

    /// Approximate bytes of memory that it takes.
    pub fn weight(&self) -> u64 {
        /// Bytes of an entry besides its content: slot, hash, allocations.
        const ENTRY: usize = 64;
        let pairs = self.values.iter();
        let pairs = pairs.map(|(key, value)| {
            key.len() + size_of::<(Box<str>, Value)>() + ENTRY + value.weight()
        });
        let tensors = self.tensors.iter();
        let tensors = tensors.map(|tensor| {
            size_of::<TensorInfo>() + ENTRY + tensor.name.len() + size_of_val(&*tensor.shape)
        });
        let tokens = self.special_tokens.iter();
        let tokens = tokens.map(|(_, text)| text.len() + ENTRY);
        let sum: usize = pairs.chain(tensors).chain(tokens).sum();
        (size_of::<Self>() + sum) as u64
    }
}
