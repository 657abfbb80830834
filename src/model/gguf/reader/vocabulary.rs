//! Arrays of texts; the longest one is the vocabulary.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read, Seek, SeekFrom};

use super::{Depth, Header, MAX_STRING, invalid, shown};
use crate::model::gguf::metadata::TOKENS;
use crate::model::gguf::value::{Texts, Value};
use crate::model::gguf::{GgufError, Metadata};

/// Special tokens whose texts are kept; there are about ten.
const MAX_SPECIAL: usize = 32;

impl<R: Read + Seek> Header<R> {
    /// Reads texts; once they are too large to keep, the rest is skipped.
    pub(super) fn texts(
        &mut self,
        count: u64,
        key: &str,
        mut keep: bool,
    ) -> Result<Value, GgufError> {
        let is_vocabulary = key == TOKENS;
        let (first, n_kept) = (self.position, self.n_kept);
        let mut seen = Seen::default();
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for index in 0..count {
            let length = self.string_length(MAX_STRING)?;
            keep = keep && self.keep(length + size_of::<u32>() as u64).is_ok();
            if !keep {
                (bytes, ends) = (Vec::new(), Vec::new());
                self.n_kept = n_kept;
            }
            let is_checked = is_vocabulary && self.depth == Depth::Checked;
            if !keep && !is_checked {
                self.skip(length)?;
                continue;
            }
            let text = self.bytes_of(length)?;
            if is_checked {
                seen.check(index, &text)?;
            }
            if keep {
                bytes.extend(text);
                ends.push(u32::try_from(bytes.len()).map_err(|_| invalid("too much text"))?);
            }
        }
        if keep {
            return Ok(Value::Texts(Texts::new(bytes, ends)));
        }
        if is_vocabulary {
            self.tokens = Some(first);
        }
        Ok(Value::Omitted {
            n_elements: count,
            is_text: true,
        })
    }

    /// Reads the texts of the tokens that keys refer to from a vocabulary that was skipped.
    pub(super) fn special_tokens(
        &mut self,
        metadata: &Metadata,
    ) -> Result<Vec<(u64, Box<str>)>, GgufError> {
        let (Some(first), Some(n_tokens)) = (self.tokens, metadata.n_tokens()) else {
            return Ok(Vec::new());
        };
        let named = metadata.values.iter().filter_map(|(key, value)| {
            let is_token = key.starts_with("tokenizer.ggml.") && key.ends_with("_token_id");
            value.as_u64().filter(|id| is_token && *id < n_tokens)
        });
        let mut ids: Vec<u64> = named.take(MAX_SPECIAL).collect();
        ids.sort_unstable();
        ids.dedup();
        self.reader.seek(SeekFrom::Start(first))?;
        self.position = first;
        let mut next = 0;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            for _ in next..id {
                let length = self.string_length(MAX_STRING)?;
                self.skip(length)?;
            }
            next = id + 1;
            found.push((id, self.kept_string(MAX_STRING)?));
        }
        Ok(found)
    }
}

/// Hashes of the tokens seen so far. The seed is random: a file cannot provoke collisions.
#[derive(Default)]
struct Seen {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl Seen {
    /// Refuses duplicate tokens, on which llama.cpp ends its process. It reads tokens up to a zero byte and
    /// gives names to empty ones.
    fn check(&mut self, index: u64, token: &[u8]) -> Result<(), GgufError> {
        let end = token.iter().position(|byte| *byte == 0);
        let token = &token[..end.unwrap_or(token.len())];
        let name = token.is_empty().then(|| format!("[EMPTY_{index}]"));
        let token = name.as_ref().map_or(token, String::as_bytes);
        if self.hashes.insert(self.hasher.hash_one(token)) {
            return Ok(());
        }
        let token = String::from_utf8_lossy(token);
        Err(invalid(format!(
            "token {:?} is in the vocabulary twice",
            shown(&token)
        )))
    }
}
