//! Bytes, numbers and texts of a header, each checked against what is left of the file and against the limits.

use std::io::{BufRead as _, Read, Seek};

use super::{Header, invalid};
use crate::model::gguf::GgufError;

/// Bytes of a header: eight times the largest known (262,144 tokens with their merges).
const MAX_HEADER: u64 = 128 << 20;
/// Bytes of keys, texts and arrays that are kept in memory: twice the largest known.
const MAX_KEPT: u64 = 32 << 20;

impl<R: Read + Seek> Header<R> {
    pub(super) fn kept_string(&mut self, limit: u64) -> Result<Box<str>, GgufError> {
        let text = self.string(limit)?;
        self.keep(text.len() as u64)?;
        Ok(text.into())
    }

    pub(super) fn string(&mut self, limit: u64) -> Result<String, GgufError> {
        let length = self.string_length(limit)?;
        Ok(match String::from_utf8(self.bytes_of(length)?) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    pub(super) fn string_length(&mut self, limit: u64) -> Result<u64, GgufError> {
        let length = self.u64()?;
        if length > limit || length > self.remaining() {
            return Err(invalid(format!("string of {length} bytes is too long")));
        }
        Ok(length)
    }

    /// Counts what stays in memory.
    pub(super) fn keep(&mut self, n_bytes: u64) -> Result<(), GgufError> {
        let n_kept = self.n_kept.saturating_add(n_bytes);
        if n_kept > MAX_KEPT {
            return Err(invalid("the header holds too much text"));
        }
        self.n_kept = n_kept;
        Ok(())
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        self.bytes().map(u64::from_le_bytes)
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads bytes of a checked length.
    pub(super) fn bytes_of(&mut self, length: u64) -> Result<Vec<u8>, GgufError> {
        let length = usize::try_from(length).map_err(|_| invalid("string is too long"))?;
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<(), GgufError> {
        self.advance(buffer.len() as u64)?;
        self.reader.read_exact(buffer).map_err(GgufError::from)
    }

    pub(super) fn skip(&mut self, count: u64) -> Result<(), GgufError> {
        self.advance(count)?;
        let mut left = count;
        while left > 0 {
            let buffered = self.reader.fill_buf()?.len();
            if buffered == 0 {
                return Err(invalid("unexpected end of file"));
            }
            let step = usize::try_from(left).map_or(buffered, |left| left.min(buffered));
            self.reader.consume(step);
            left -= step as u64;
        }
        Ok(())
    }

    fn advance(&mut self, count: u64) -> Result<(), GgufError> {
        if count > self.remaining() {
            return Err(invalid("unexpected end of file"));
        }
        self.position += count;
        if self.position > MAX_HEADER {
            return Err(invalid("the header is too large"));
        }
        Ok(())
    }

    pub(super) fn remaining(&self) -> u64 {
        self.file_size.saturating_sub(self.position)
    }
}
