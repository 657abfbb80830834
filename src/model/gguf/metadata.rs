//! What a header says: look-up of keys, counts and the kind of file.

use serde_json::{Map, Value};

use super::{TensorInfo, file_type};

/// All key/value pairs and tensor descriptions of a GGUF file.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// Keys in file order. Arrays are JSON arrays; `null` stands for one that was too long to keep.
    pub values: Map<String, Value>,
    pub tensors: Vec<TensorInfo>,
    /// Bytes of the whole file.
    pub file_size: u64,
}

/// What a file is for, decided as Ollama does at create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Model,
    Projector,
    Adapter,
}

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
        if key.starts_with('.') {
            self.values.get(&format!("{}{key}", self.architecture()))
        } else {
            self.values.get(key)
        }
    }

    /// An unsigned number; of an array of numbers the largest.
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Array(items) => items.iter().filter_map(Value::as_u64).max(),
            value => value.as_u64(),
        }
    }

    pub fn string(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
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
}
