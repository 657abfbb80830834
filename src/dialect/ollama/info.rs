//! A header's keys as `show` has them.

use std::sync::Arc;

use indexmap::IndexMap;
use serde::ser::{Serialize, Serializer};

use crate::api::ollama::ModelInfo;
use crate::model::gguf::{Metadata, Value};

/// Keys that are shown elsewhere, or nowhere.
const HIDDEN: [&str; 2] = ["general.name", "tokenizer.chat_template"];

/// Bytes of JSON that a byte of a header may become: `\u0000`.
const SPELLED: usize = 6;

/// The keys of a header, written without a copy of their values.
#[derive(Debug, Clone, Default)]
pub struct KeyValues {
    header: Option<Arc<Metadata>>,
    /// In the order of the file, instead of sorted.
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

    /// Bytes of memory that it takes beside what is remembered anyway, and that its text takes, at most.
    pub fn bytes(&self) -> usize {
        let header = self.header.as_ref().filter(|_| self.in_order);
        let bytes = header.map_or(0, |header| header.weight());
        usize::try_from(bytes).map_or(usize::MAX, |bytes| bytes.saturating_mul(1 + SPELLED))
    }

    /// Gives the model another name than its file has.
    pub fn set_basename(&mut self, name: String) {
        self.basename = Some(name);
    }
}

impl ModelInfo for KeyValues {
    fn is_empty(&self) -> bool {
        self.header.is_none() && self.basename.is_none()
    }
}

/// A value of the file, or one that is put in its place.
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
