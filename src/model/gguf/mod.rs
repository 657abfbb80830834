//! GGUF headers: metadata and tensor list, read without loading weights.
//!
//! Hostile input: every count and length is checked against the bytes that remain and against fixed limits; a
//! bad file leads to an error, never to a panic or to much memory.

#[cfg(any(test, feature = "fake"))]
pub mod audio_projector;
#[cfg(any(test, feature = "fake"))]
pub mod builder;
pub mod file_type;
mod hyperparameters;
mod layout;
mod merge;
mod metadata;
mod reader;
pub mod split;
#[cfg(any(test, feature = "fake"))]
pub mod splitter;
mod tensor;
#[cfg(test)]
mod tests;
mod value;

use std::io::{Read, Seek};

use reader::Depth;

pub use hyperparameters::{Hyperparameters, check_projector};
pub use layout::{Layout, PairLayout, TensorLayout};
pub use merge::Merge;
pub use metadata::{FileKind, Metadata};
pub use tensor::{Kind, TensorInfo, kind_of};
pub use value::{Numbers, Scalar, Texts, Value};

/// The first bytes of every file.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// Arrays longer than this are left out unless they are requested.
pub const SHORT_ARRAY: usize = 1024;

/// The bytes are not a GGUF file that we can read.
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
    /// Reads a header without its long arrays (vocabularies), which is enough for running a model.
    ///
    /// # Errors
    /// Fails on other formats, truncated headers, tensors that lie beyond the end of the file.
    pub fn read(reader: &mut (impl Read + Seek)) -> Result<Self, GgufError> {
        reader::read(reader, Depth::Brief).map(|(metadata, _)| metadata)
    }

    /// The same, with the positions of everything.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_with_layout(reader: &mut (impl Read + Seek)) -> Result<(Self, Layout), GgufError> {
        reader::read(reader, Depth::Brief)
    }

    /// As [`Self::read`], but also checks each token of the vocabulary.
    ///
    /// # Errors
    /// As [`Self::read`], and on a duplicate token.
    pub fn read_checked(reader: &mut (impl Read + Seek)) -> Result<Self, GgufError> {
        reader::read(reader, Depth::Checked).map(|(metadata, _)| metadata)
    }

    /// Reads a header with all its arrays, unless they are larger than those of real files.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_whole(reader: &mut (impl Read + Seek)) -> Result<Self, GgufError> {
        reader::read(reader, Depth::Whole).map(|(metadata, _)| metadata)
    }
}
