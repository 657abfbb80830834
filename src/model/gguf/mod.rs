//! GGUF headers: metadata and tensor list, read without loading weights.
//!
//! Hostile input: every count and length is checked against the bytes that remain and against
//! fixed limits; a bad file costs an error, never a panic and never much memory.

#[cfg(any(test, feature = "fake"))]
pub mod builder;
pub mod compat;
pub mod file_type;
mod merge;
mod metadata;
mod reader;
pub mod split;
#[cfg(any(test, feature = "fake"))]
pub mod splitter;
mod tensor;
#[cfg(test)]
mod tests;
mod validate;

use std::io::{Read, Seek};

pub use merge::Merge;
pub use metadata::{FileKind, Metadata};
pub use tensor::TensorInfo;

/// The first bytes of every file.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// Arrays longer than this are left out of a brief header and of a short `show`.
pub const SHORT_ARRAY: usize = 1024;

/// The bytes are no GGUF file that we can read.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    #[error("supplied file was not in GGUF format")]
    NotGguf,
    #[error("invalid GGUF file: {0}")]
    Invalid(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Metadata {
    /// Reads a header with all its arrays.
    ///
    /// # Errors
    /// Fails on other formats, truncated headers, tensors that lie beyond the end of the file.
    pub fn read(reader: &mut (impl Read + Seek)) -> Result<Self, GgufError> {
        reader::read(reader, reader::Arrays::All).map(|(metadata, _)| metadata)
    }

    /// Reads a header; arrays of more than [`SHORT_ARRAY`] elements (vocabularies) become `null`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_brief(reader: &mut (impl Read + Seek)) -> Result<Self, GgufError> {
        reader::read(reader, reader::Arrays::Short).map(|(metadata, _)| metadata)
    }
}
