//! A file that is composed of pieces of another one.
//!
//! llama.cpp cannot load every model file as it is: Ollama wrote some for its own engine, with other keys and
//! names, and an image encoder among the weights. A view describes the file that llama.cpp needs, in terms of
//! the existing one: a new header, then ranges of the original, in another order, with gaps, cut, interleaved
//! or converted. Nothing is copied; a [`Reader`] computes the bytes at any offset on demand.
//!
//! The daemon plans views (`families::layout`), runners read through them.

mod reader;
mod segment;
#[cfg(test)]
mod tests;

pub use reader::{Convert, HeaderOnly, ReadAt, Reader};
pub use segment::{Conversion, Pieces, Segment, Step};

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A GGUF file, and the form in which llama.cpp gets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFile {
    pub path: PathBuf,
    pub form: Form,
}

/// The form in which llama.cpp gets a file, the cheapest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub enum Form {
    /// As it is.
    #[default]
    Original,
    /// As it is, with other values for some keys of its header.
    Overrides(Vec<Override>),
    /// As another file; the view is shared by all requests for it.
    View(#[serde(with = "shared")] Arc<View>),
}

/// A key of a GGUF header with its new value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Override {
    pub key: String,
    pub value: OverrideValue,
}

/// The value types that llama.cpp can override.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OverrideValue {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

/// The content of a file: its segments, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct View {
    pub segments: Vec<Segment>,
}

impl ModelFile {
    /// A file as it is.
    pub fn original(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            form: Form::Original,
        }
    }
}

impl View {
    /// Bytes of the whole file; saturates.
    pub fn n_bytes(&self) -> u64 {
        let segments = self.segments.iter().map(Segment::n_bytes);
        segments.fold(0, u64::saturating_add)
    }

    /// Appends a segment, or extends the last one if the new one continues it.
    pub fn push(&mut self, segment: Segment) {
        let Some(last) = self.segments.last_mut() else {
            self.segments.push(segment);
            return;
        };
        if let Some(segment) = last.extend(segment) {
            self.segments.push(segment);
        }
    }
}

/// Serializes a shared value like an unshared one.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::view::View;

    pub(super) fn serialize<S: Serializer>(
        view: &Arc<View>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        view.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<View>, D::Error> {
        View::deserialize(deserializer).map(Arc::new)
    }
}
