//! A file with its header.

use std::io::{Read, Seek};
use std::ops::Range;

use super::invalid;
use super::value::LIST;
use crate::model::gguf::{GgufError, Layout, Metadata, Value};
use crate::view::ReadAt;

/// The most bytes of a list that is read whole: eight times the largest known vocabulary.
const MAX_LIST: u64 = 32 << 20;

/// Bytes before the elements of a list: the types of the list and of its elements, and their number.
pub(super) const LIST_HEAD: u64 = 16;

/// A file with its header, without long lists.
pub(super) struct Source<'a> {
    pub(super) metadata: Metadata,
    pub(super) layout: Layout,
    file: &'a dyn ReadAt,
}

impl<'a> Source<'a> {
    /// Reads the header.
    pub(super) fn read<F: ReadAt + Read + Seek>(file: &'a mut F) -> Result<Self, GgufError> {
        let (metadata, layout) = Metadata::read_with_layout(file)?;
        Ok(Self {
            metadata,
            layout,
            file,
        })
    }

    /// The type of a value, and its range of bytes in the file.
    pub(super) fn place(&self, key: &str) -> Option<(u32, Range<u64>)> {
        let mut pairs = self.layout.pairs.iter();
        let pair = pairs.find(|pair| *pair.key == *key)?;
        Some((pair.kind, pair.value.clone()))
    }

    /// The elements of a list of strings; empty if the key has another type.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<Box<[u8]>>, GgufError> {
        let mut texts = Vec::new();
        self.walk(key, |_, text| {
            texts.push(text.into());
            true
        })?;
        Ok(texts)
    }

    /// The elements of a list of four-byte numbers, however long; empty if the key has another type.
    pub(super) fn long_list(&self, key: &str) -> Result<Vec<i32>, GgufError> {
        let Some((LIST, range)) = self.place(key) else {
            return Ok(Vec::new());
        };
        let n = self.metadata.get(key).and_then(Value::n_elements);
        let start = range.start + LIST_HEAD;
        let n_bytes = range.end.saturating_sub(start);
        if n.and_then(|n| n.checked_mul(4)) != Some(n_bytes) || n_bytes > MAX_LIST {
            return Err(invalid(format!(
                "`{key}` is no list of numbers, or too long"
            )));
        }
        let mut bytes = vec![0; usize::try_from(n_bytes).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, start)?;
        let (numbers, _) = bytes.as_chunks();
        Ok(numbers
            .iter()
            .map(|number| i32::from_le_bytes(*number))
            .collect())
    }

    /// The position of the element `index` of a list of strings, in bytes of the file.
    pub(super) fn place_of_text(&self, key: &str, index: u64) -> Result<Option<u64>, GgufError> {
        let mut left = index;
        let mut place = None;
        self.walk(key, |at, _| {
            if left == 0 {
                place = Some(at);
            }
            left = left.wrapping_sub(1);
            place.is_none()
        })?;
        Ok(place)
    }

    /// The text of a token.
    pub(super) fn token(&self, id: u64) -> Result<Option<Box<[u8]>>, GgufError> {
        let mut left = id;
        let mut found = None;
        self.walk("tokenizer.ggml.tokens", |_, text| {
            if left == 0 {
                found = Some(text.into());
            }
            left = left.wrapping_sub(1);
            found.is_none()
        })?;
        Ok(found)
    }

    /// Goes through a list of strings until `visit`, which gets the position and the bytes of each, returns false.
    fn walk(&self, key: &str, mut visit: impl FnMut(u64, &[u8]) -> bool) -> Result<(), GgufError> {
        let Some((LIST, range)) = self.place(key) else {
            return Ok(());
        };
        let is_texts = self.metadata.get(key).is_some_and(Value::is_texts);
        if !is_texts {
            return Ok(());
        }
        let n_bytes = range.end - range.start;
        if n_bytes > MAX_LIST {
            return Err(invalid(format!("`{key}` is too long")));
        }
        let mut bytes = vec![0; usize::try_from(n_bytes).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, range.start)?;
        let short = || invalid(format!("`{key}` ends too early"));
        let mut at = usize::try_from(LIST_HEAD).unwrap_or(0);
        while at < bytes.len() {
            let rest = bytes.get(at..).ok_or_else(short)?;
            let (length, rest) = rest.split_first_chunk().ok_or_else(short)?;
            let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| short())?;
            let text = rest.get(..length).ok_or_else(short)?;
            if !visit(range.start + at as u64, text) {
                break;
            }
            at += size_of::<u64>() + length;
        }
        Ok(())
    }
}
