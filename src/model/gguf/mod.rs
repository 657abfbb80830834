//! GGUF headers: metadata and tensor list, read without loading weights.
//!
//! Hostile input: every count and length is checked against the bytes that remain.

// STUB (owner: model/store helper): reader.rs, metadata.rs, file_type.rs, tensor list, compat.rs.

pub mod compat;

use std::io::{Read, Seek};

use serde_json::{Map, Value};

/// All key/value pairs and tensor descriptions of a GGUF file.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// Keys in file order. Arrays are JSON arrays; very long ones may be kept too.
    pub values: Map<String, Value>,
    pub tensors: Vec<TensorInfo>,
    /// Bytes of the whole file.
    pub file_size: u64,
}

/// One tensor's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// `Q4_K`, `F32`, …
    pub kind: String,
    pub shape: Vec<u64>,
    /// Offset in the data section, bytes.
    pub offset: u64,
}

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
    /// Reads a header.
    ///
    /// # Errors
    /// Fails on other formats, truncated headers, tensors that lie beyond the end of the file.
    pub fn read(_reader: &mut (impl Read + Seek)) -> Result<Self, GgufError> {
        todo!()
    }

    /// `general.architecture`, or empty.
    pub fn architecture(&self) -> &str {
        self.values
            .get("general.architecture")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Looks a key up; a leading `.` means "after the architecture": `.context_length`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        if key.starts_with('.') {
            self.values.get(&format!("{}{key}", self.architecture()))
        } else {
            self.values.get(key)
        }
    }

    /// An unsigned number; of an array of numbers the largest.
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Array(items) => items.iter().filter_map(Value::as_u64).max(),
            value => value.as_u64(),
        }
    }

    pub fn string(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// Number of weights, counted over the tensors.
    pub fn parameter_count(&self) -> u64 {
        todo!()
    }

    /// The quantization's name (`Q4_K_M`) from `general.file_type`, or `unknown`.
    pub fn file_type(&self) -> String {
        todo!()
    }
}
