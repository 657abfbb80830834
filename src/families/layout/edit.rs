//! A header under construction: the original's keys and tensors, and a family's changes to them.

use indexmap::IndexMap;

use super::invalid;
use super::source::{LIST_HEAD, Source};
use super::tensor::Tensor;
use super::value::{F32, I32, LIST, MAX_OVERRIDE, New, TEXT, list_head, text};
use crate::model::gguf::{GgufError, MAGIC, Metadata, Value};
use crate::view::{Form, Override, Segment, View};

const ARCHITECTURE: &str = "general.architecture";

/// llama.cpp's own limit.
const MAX_LAYERS: u32 = 512;

/// The version of GGUF that views have.
const VERSION: u32 = 3;

/// A key's value as it is in the header.
#[derive(Debug, Clone)]
struct Pair {
    /// The type and the value.
    bytes: Vec<Segment>,
    new: Option<New>,
}

/// A header under construction.
///
/// Keys that begin with a dot stand for keys of the architecture under its present name.
pub struct Edit<'a> {
    source: &'a Source<'a>,
    architecture: String,
    pairs: IndexMap<Box<str>, Pair>,
    pub(in crate::families) tensors: Vec<Tensor>,
    /// Whether something changed that cannot be expressed as an override.
    needs_view: bool,
    /// Whether tensors that the weights do not need stay: the file is only quantized, never loaded.
    pub(super) keeps_all: bool,
}

impl<'a> Edit<'a> {
    /// Begins with everything that the original has.
    pub(super) fn of(source: &'a Source<'a>) -> Self {
        let pairs = source.layout.pairs.iter().map(|pair| {
            let range = pair.value.clone();
            let bytes = vec![Segment::range(range.start, range.end - range.start)];
            (pair.key.clone(), Pair { bytes, new: None })
        });
        let tensors = source.metadata.tensors.iter();
        let tensors = tensors.zip(&source.layout.tensors);
        Self {
            architecture: source.metadata.architecture().to_owned(),
            pairs: pairs.collect(),
            tensors: tensors
                .map(|(info, layout)| Tensor::original(info, layout))
                .collect(),
            needs_view: false,
            keeps_all: false,
            source,
        }
    }

    /// Begins with nothing but some of the original's tensors.
    pub(super) fn of_tensors(source: &'a Source<'a>, prefixes: &[&str]) -> Self {
        let mut edit = Self::of(source);
        let keeps_alignment = |key: &str| key == "general.alignment";
        edit.pairs.retain(|key, _| keeps_alignment(key));
        let begins = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        edit.tensors.retain(|tensor| begins(&tensor.name));
        edit.needs_view = true;
        edit
    }

    pub(super) fn source(&self) -> &'a Source<'a> {
        self.source
    }

    /// The header of the original.
    pub(in crate::families) fn original(&self) -> &'a Metadata {
        &self.source.metadata
    }

    fn whole(&self, key: &str) -> Box<str> {
        if key.starts_with('.') {
            format!("{}{key}", self.architecture).into()
        } else {
            key.into()
        }
    }

    pub(in crate::families) fn has(&self, key: &str) -> bool {
        self.pairs.contains_key(&self.whole(key))
    }

    /// A number of the original.
    pub(in crate::families) fn number(&self, key: &str) -> Option<u32> {
        u32::try_from(self.original().number(key)?).ok()
    }

    /// A number of the original that must exist.
    pub(in crate::families) fn required(&self, key: &str) -> Result<u32, GgufError> {
        let missing = || invalid(format!("`{key}` is missing or no number"));
        self.number(key).ok_or_else(missing)
    }

    /// The numbers of a list of the original, or its single number; empty if there is no such key.
    pub(in crate::families) fn numbers(&self, key: &str) -> Vec<u32> {
        let small = |value: &Value| u32::try_from(value.as_u64()?).ok();
        match self.original().get(key) {
            Some(Value::Numbers(numbers)) => {
                numbers.iter().filter_map(|value| small(&value)).collect()
            }
            Some(value) => small(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// A number of the original in single precision.
    pub(in crate::families) fn float(&self, key: &str) -> Option<f32> {
        self.floats(key).first().copied()
    }

    /// The numbers of a list of the original in single precision, or its single number; empty if there is no such key.
    pub(in crate::families) fn floats(&self, key: &str) -> Vec<f32> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "single precision is what llama.cpp reads"
        )]
        let small = |value: &Value| match value {
            Value::Single(number) => Some(*number),
            Value::Double(number) => Some(*number as f32),
            _ => None,
        };
        match self.original().get(key) {
            Some(Value::Numbers(numbers)) => {
                numbers.iter().filter_map(|value| small(&value)).collect()
            }
            Some(value) => small(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// One dimension of a tensor in its present state.
    pub(in crate::families) fn side(&self, tensor: &str, side: usize) -> Option<u32> {
        let tensor = self.tensors.iter().find(|known| known.name == tensor)?;
        u32::try_from(*tensor.shape.get(side)?).ok()
    }

    /// One dimension of a tensor that must exist.
    pub(in crate::families) fn required_side(
        &self,
        tensor: &str,
        side: usize,
    ) -> Result<u32, GgufError> {
        let missing = || invalid(format!("tensor `{tensor}` is missing or has too few sides"));
        self.side(tensor, side).ok_or_else(missing)
    }

    /// Sets a key.
    pub(in crate::families) fn set(&mut self, key: &str, new: impl Into<New>) {
        let new = new.into();
        let pair = Pair {
            bytes: vec![Segment::Bytes(new.bytes())],
            new: Some(new.clone()),
        };
        self.needs_view |= new.is_list();
        self.pairs.insert(self.whole(key), pair);
    }

    /// Sets a key if it is missing.
    pub(in crate::families) fn default(&mut self, key: &str, new: impl Into<New>) {
        if !self.has(key) {
            self.set(key, new);
        }
    }

    /// Sets the tokenizer's kind if the file does not name one.
    pub(in crate::families) fn default_pre(&mut self, pre: &str) {
        const PRE: &str = "tokenizer.ggml.pre";
        let is_open = matches!(self.original().string(PRE), None | Some("" | "default"));
        if is_open {
            self.set(PRE, pre);
        }
    }

    pub(in crate::families) fn remove(&mut self, key: &str) {
        let is_there = self.pairs.shift_remove(&self.whole(key)).is_some();
        self.needs_view |= is_there;
    }

    /// Renames a key, if it exists; replaces a key that had the new name.
    pub(in crate::families) fn rename(&mut self, from: &str, to: &str) {
        let whole = self.whole(from);
        // A single value can be overridden, so that the file itself stays unchanged.
        if let (false, Some(new)) = (
            self.needs_view,
            self.original().get(&whole).and_then(New::of),
        ) {
            return self.set(to, new);
        }
        if let Some(pair) = self.pairs.shift_remove(&whole) {
            self.pairs.insert(self.whole(to), pair);
            self.needs_view = true;
        }
    }

    /// Renames the architecture, and the keys that begin with its name.
    pub(in crate::families) fn rename_architecture(&mut self, name: &str) {
        let old = format!("{}.", self.architecture);
        let pairs = std::mem::take(&mut self.pairs).into_iter();
        let pairs = pairs.map(|(key, pair)| match key.strip_prefix(&old) {
            Some(rest) => (format!("{name}.{rest}").into(), pair),
            None => (key, pair),
        });
        self.pairs = pairs.collect();
        name.clone_into(&mut self.architecture);
        self.set(ARCHITECTURE, name);
        self.needs_view = true;
    }

    /// Removes the tensors whose names have one of these prefixes.
    pub(in crate::families) fn hide(&mut self, prefixes: &[&str]) {
        if self.keeps_all {
            return;
        }
        let begins = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let n_before = self.tensors.len();
        self.tensors.retain(|tensor| !begins(&tensor.name));
        self.needs_view |= self.tensors.len() != n_before;
    }

    /// Replaces parts of names, one rule after the other.
    pub(in crate::families) fn rename_parts(&mut self, rules: &[(&str, &str)]) {
        for tensor in &mut self.tensors {
            for (from, to) in rules {
                if tensor.name.contains(from) {
                    tensor.name = tensor.name.replace(from, to);
                    self.needs_view = true;
                }
            }
        }
    }

    /// Replaces the prefix of each name by the first rule that matches.
    pub(in crate::families) fn rename_prefixes(&mut self, rules: &[(&str, &str)]) {
        for tensor in &mut self.tensors {
            let mut rules = rules.iter();
            let renamed = rules.find_map(|(from, to)| {
                let rest = tensor.name.strip_prefix(from)?;
                Some(format!("{to}{rest}"))
            });
            if let Some(name) = renamed {
                tensor.name = name;
                self.needs_view = true;
            }
        }
    }

    /// A tensor by its name, for changing it.
    pub(in crate::families) fn tensor_mut(&mut self, name: &str) -> Option<&mut Tensor> {
        let found = self.tensors.iter_mut().find(|tensor| tensor.name == name);
        self.needs_view |= found.is_some();
        found
    }

    /// Removes a tensor and returns it.
    pub(in crate::families) fn take(&mut self, name: &str) -> Option<Tensor> {
        let index = self.tensors.iter().position(|tensor| tensor.name == name)?;
        self.needs_view = true;
        Some(self.tensors.remove(index))
    }

    pub(in crate::families) fn add(&mut self, tensor: Tensor) {
        self.tensors.push(tensor);
        self.needs_view = true;
    }

    /// Converts these tensors to single precision, if they exist.
    pub(in crate::families) fn make_f32(&mut self, names: &[&str]) -> Result<(), GgufError> {
        names.iter().try_for_each(|name| {
            let tensor = self.tensor_mut(name);
            tensor.map_or(Ok(()), Tensor::make_f32)
        })
    }

    /// Joins tensors along their last dimension under a new name; nothing changes if one of them is missing. Tensors of
    /// different types are converted to single precision.
    pub(in crate::families) fn join(&mut self, names: &[&str], new: &str) -> Result<(), GgufError> {
        let find = |name: &&str| self.tensors.iter().find(|tensor| tensor.name == **name);
        let found: Option<Vec<Tensor>> = names.iter().map(|name| find(name).cloned()).collect();
        let Some(mut parts) = found else {
            return Ok(());
        };
        let first = parts.first().map(|part| part.kind);
        if parts.iter().any(|part| Some(part.kind) != first) {
            parts.iter_mut().try_for_each(Tensor::make_f32)?;
        }
        self.tensors
            .retain(|tensor| !names.contains(&&*tensor.name));
        let mut parts = parts.into_iter();
        if let Some(mut joined) = parts.next() {
            joined.append(parts.as_slice())?;
            new.clone_into(&mut joined.name);
            self.add(joined);
        }
        Ok(())
    }

    /// Cuts the lists of a vocabulary to `n_tokens` tokens.
    pub(in crate::families) fn cut_vocabulary(&mut self, n_tokens: u32) -> Result<(), GgufError> {
        for list in ["tokens", "scores", "token_type"] {
            self.cut_list(&format!("tokenizer.ggml.{list}"), n_tokens)?;
        }
        Ok(())
    }

    fn cut_list(&mut self, key: &str, count: u32) -> Result<(), GgufError> {
        let value = self.original().get(key);
        let Some(n) = value.and_then(Value::n_elements) else {
            return Ok(());
        };
        if n <= count.into() {
            return Ok(());
        }
        let Some((LIST, range)) = self.source.place(key) else {
            return Ok(());
        };
        let (kind, end) = if value.is_some_and(Value::is_texts) {
            let end = self.source.place_of_text(key, count.into())?;
            let short = || invalid(format!("`{key}` ends too early"));
            (TEXT, end.ok_or_else(short)?)
        } else {
            // Scores are F32 and types I32; both take four bytes.
            let n_bytes = range.end - range.start - LIST_HEAD;
            if n.checked_mul(4) != Some(n_bytes) {
                return Err(invalid(format!(
                    "`{key}` has elements of another size than four bytes"
                )));
            }
            let kind = if key.ends_with("scores") { F32 } else { I32 };
            (kind, range.start + LIST_HEAD + u64::from(count) * 4)
        };
        let start = range.start + LIST_HEAD;
        let pair = Pair {
            bytes: vec![
                Segment::Bytes(list_head(kind, count as usize)),
                Segment::range(start, end - start),
            ],
            new: None,
        };
        self.pairs.insert(key.into(), pair);
        self.needs_view = true;
        Ok(())
    }

    /// The elements of a list of strings in the original.
    pub(in crate::families) fn texts(&self, key: &str) -> Result<Vec<Box<[u8]>>, GgufError> {
        self.source.texts(key)
    }

    /// The elements of a list of four-byte numbers in the original.
    pub(in crate::families) fn long_list(&self, key: &str) -> Result<Vec<i32>, GgufError> {
        self.source.long_list(key)
    }

    /// The text of a token in the original.
    pub(in crate::families) fn token(&self, id: u32) -> Result<Option<Box<[u8]>>, GgufError> {
        self.source.token(id.into())
    }

    /// Replaces a list by a single number.
    pub(in crate::families) fn replace_list(&mut self, key: &str, number: u32) {
        self.set(key, number);
        self.needs_view = true;
    }

    /// Marks the header as changed beyond overrides.
    pub(in crate::families) fn touch(&mut self) {
        self.needs_view = true;
    }

    /// The number of layers, checked.
    pub(in crate::families) fn n_layers(&self) -> Result<u32, GgufError> {
        bounded_layers(self.required(".block_count")?)
    }

    /// The result: what llama.cpp will be given.
    pub(super) fn finish(mut self) -> Result<Form, GgufError> {
        if !self.needs_view {
            let overrides = self.pairs.iter().filter_map(|(key, pair)| {
                let value = pair.new.as_ref()?.to_override()?;
                Some(Override {
                    key: key.to_string(),
                    value,
                })
            });
            let overrides: Vec<_> = overrides.collect();
            let n_new = self
                .pairs
                .values()
                .filter(|pair| pair.new.is_some())
                .count();
            let fits = overrides.iter().all(|pair| pair.key.len() <= MAX_OVERRIDE);
            if fits && overrides.len() == n_new {
                return Ok(if n_new == 0 {
                    Form::Original
                } else {
                    Form::Overrides(overrides)
                });
            }
        }
        self.modernise();
        self.view().map(|view| Form::View(view.into()))
    }

    /// llama.cpp accepts no signed numbers where it wants unsigned ones, and takes a file with `split.*` for a part.
    fn modernise(&mut self) {
        for pair in &self.source.layout.pairs {
            let number = self.original().get(&pair.key).and_then(Value::as_u64);
            let number = number.and_then(|number| u32::try_from(number).ok());
            if let (I32, Some(number), Some(known)) =
                (pair.kind, number, self.pairs.get_mut(&pair.key))
            {
                known.bytes = vec![Segment::Bytes(New::U32(number).bytes())];
            }
        }
        self.pairs.retain(|key, _| !key.starts_with("split."));
    }

    fn view(&self) -> Result<View, GgufError> {
        let alignment = self.source.layout.alignment;
        let mut view = View::default();
        let mut head = MAGIC.to_vec();
        head.extend(VERSION.to_le_bytes());
        head.extend((self.tensors.len() as u64).to_le_bytes());
        head.extend((self.pairs.len() as u64).to_le_bytes());
        view.push(Segment::Bytes(head));
        for (key, pair) in &self.pairs {
            view.push(Segment::Bytes(text(key)));
            pair.bytes
                .iter()
                .cloned()
                .for_each(|bytes| view.push(bytes));
        }
        let mut offset: u64 = 0;
        for tensor in &self.tensors {
            tensor.check()?;
            let mut bytes = text(&tensor.name);
            let n_sides = u32::try_from(tensor.shape.len()).unwrap_or(u32::MAX);
            bytes.extend(n_sides.to_le_bytes());
            bytes.extend(tensor.shape.iter().flat_map(|side| side.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            view.push(Segment::Bytes(bytes));
            offset = offset.saturating_add(tensor.n_bytes().next_multiple_of(alignment));
        }
        let n_bytes = view.n_bytes();
        view.push(Segment::Zeros(
            n_bytes.next_multiple_of(alignment) - n_bytes,
        ));
        for tensor in &self.tensors {
            tensor.data.iter().cloned().for_each(|data| view.push(data));
            let n_bytes = tensor.n_bytes();
            view.push(Segment::Zeros(
                n_bytes.next_multiple_of(alignment) - n_bytes,
            ));
        }
        Ok(view)
    }
}

/// A number of layers that is small enough to loop over.
pub(super) fn bounded_layers(n_layers: u32) -> Result<u32, GgufError> {
    if n_layers <= MAX_LAYERS {
        return Ok(n_layers);
    }
    Err(invalid(format!(
        "{n_layers} layers are more than {MAX_LAYERS}"
    )))
}
