//! A header's keys as `show` returns them.

use std::sync::Arc;

use indexmap::IndexMap;
use serde::ser::{Serialize, Serializer};

use crate::api::ollama::ModelInfo;
use crate::model::gguf::{Metadata, Value};

/// Keys that `show` returns elsewhere, or not at all.
const HIDDEN: [&str; 2] = ["general.name", "tokenizer.chat_template"];

/// The most bytes of JSON for a byte of a header: `\u0000`.
const SPELLED: usize = 6;

/// The keys of a header, encoded without copying their values.
#[derive(Debug, Clone, Default)]
pub struct KeyValues {
    header: Option<Arc<Metadata>>,
    /// Whether the keys are in the order of the file, instead of sorted.
    in_order: bool,
    basename: Option<String>,
}

impl KeyValues {
    pub(super) fn new(header: Option<Arc<Metadata>>, in_order: bool) -> Self {
        Self {
            header,
            in_order,
            basename: None,
        }
    }

    /// Upper bound on the bytes that this and its text take, besides the cached header.
    pub fn bytes(&self) -> usize {
        let header = self.header.as_ref().filter(|_| self.in_order);
        let bytes = header.map_or(0, |header| header.weight());
        usize::try_from(bytes).map_or(usize::MAX, |bytes| bytes.saturating_mul(1 + SPELLED))
    }

    /// Replaces the model's name from the file.
    pub fn set_basename(&mut self, name: String) {
        self.basename = Some(name);
    }
}

impl ModelInfo for KeyValues {
    fn is_empty(&self) -> bool {
        self.header.is_none() && self.basename.is_none()
    }
}

/// A value from the file, or its replacement.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    OfFile(&'a Value),
    Count(u64),
    Name(&'a str),
}

impl Serialize for KeyValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown: IndexMap<&str, Shown<'_>> = IndexMap::new();
        if let Some(header) = &self.header {
            let pairs = header.values.iter().map(|(key, value)| (&**key, value));
            let pairs = pairs.filter(|(key, _)| !HIDDEN.contains(key));
            shown.extend(pairs.map(|(key, value)| (key, Shown::OfFile(value))));
            let count = Shown::Count(header.parameter_count());
            shown.insert("general.parameter_count", count);
        }
        if !self.in_order {
            shown.sort_unstable_keys();
        }
        if let Some(name) = &self.basename {
            shown.insert("general.basename", Shown::Name(name));
        }
        serializer.collect_map(shown)
    }
}
