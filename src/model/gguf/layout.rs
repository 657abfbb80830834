//! Where the parts of a file are, for code that copies or views them unchanged.

use std::ops::Range;

/// The places of everything in a file; ranges are in bytes from its beginning.
#[derive(Debug, Clone)]
pub struct Layout {
    pub version: u32,
    /// The alignment of the tensors' data.
    pub alignment: u64,
    pub pairs: Vec<PairLayout>,
    /// In the order of [`Metadata::tensors`](super::Metadata::tensors).
    pub tensors: Vec<TensorLayout>,
}

#[derive(Debug, Clone)]
pub struct PairLayout {
    pub key: Box<str>,
    /// The code of the value's type.
    pub kind: u32,
    /// Key and value.
    pub pair: Range<u64>,
    /// The value with its type.
    pub value: Range<u64>,
}

#[derive(Debug, Clone)]
pub struct TensorLayout {
    /// The type's code in the file.
    pub code: u32,
    /// Name, dimensions and type; the offset comes after them.
    pub description: Range<u64>,
    pub data: Range<u64>,
}
