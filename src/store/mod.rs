//! The model directory: Ollama's layout, read and written in place.
//!
//! All functions block; async callers use `spawn_blocking`.

// STUB (owner: model/store helper)

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::chat::Message;
use crate::model::{Digest, ImageConfig, Layer, Manifest, ModelName, gguf};

/// A handle to one model directory; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    _inner: Arc<()>,
}

/// What went wrong, with the path or name.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("model \"{0}\" not found")]
    NotFound(String),
    #[error("blob \"{0}\" not found")]
    BlobNotFound(Digest),
    #[error("digest mismatch, expected \"{expected}\", got \"{got}\"")]
    DigestMismatch { expected: Digest, got: Digest },
    #[error("{path}: {reason}")]
    Corrupt { path: PathBuf, reason: String },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A model as the store has it: everything a request needs but the weights' bytes.
#[derive(Debug, Clone)]
pub struct Model {
    pub name: ModelName,
    /// SHA-256 of the manifest file, 64 hex digits.
    pub digest: String,
    pub manifest: Manifest,
    pub config: ImageConfig,
    pub modified: Timestamp,
    /// Sum of all layers, bytes.
    pub size: u64,
    pub weights: Option<PathBuf>,
    pub projectors: Vec<PathBuf>,
    pub adapters: Vec<PathBuf>,
    pub draft: Option<PathBuf>,
    /// The Go template layer.
    pub template: Option<String>,
    pub system: Option<String>,
    pub params: Map<String, Value>,
    pub messages: Vec<Message>,
    pub licenses: Vec<String>,
}

/// One line of a listing: cheap, no text layers read.
#[derive(Debug, Clone)]
pub struct ListedModel {
    pub name: ModelName,
    pub digest: String,
    pub manifest: Manifest,
    pub config: ImageConfig,
    pub modified: Timestamp,
    pub size: u64,
    pub weights: Option<PathBuf>,
    pub projectors: Vec<PathBuf>,
}

/// A blob in the making; dropped without [`BlobWriter::finish`] it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    _private: (),
}

impl std::io::Write for BlobWriter {
    fn write(&mut self, _buf: &[u8]) -> std::io::Result<usize> {
        todo!()
    }

    fn flush(&mut self) -> std::io::Result<()> {
        todo!()
    }
}

impl BlobWriter {
    /// Checks the digest, syncs and renames the blob to its name.
    ///
    /// # Errors
    /// Fails with `DigestMismatch` when `expected` is another digest.
    pub fn finish(self, _expected: Option<Digest>) -> Result<(Digest, u64), StoreError> {
        todo!()
    }
}

impl Store {
    /// Opens a model directory, creating it when absent.
    ///
    /// # Errors
    /// Fails when the directories cannot be made or read.
    pub fn open(_root: &Path) -> Result<Self, StoreError> {
        todo!()
    }

    /// Deletes what no manifest mentions (start-up rules of the store specification §5.4).
    /// Returns how many blobs went.
    ///
    /// # Errors
    /// Fails when a folder cannot be read.
    pub fn prune(&self, _now: Timestamp) -> Result<usize, StoreError> {
        todo!()
    }

    pub fn root(&self) -> &Path {
        todo!()
    }

    /// Replaces the spelling of a name by that of an existing manifest, case ignored.
    ///
    /// # Errors
    /// Fails when the folders cannot be read.
    pub fn resolve(&self, _name: &ModelName) -> Result<ModelName, StoreError> {
        todo!()
    }

    /// Loads a model by name (resolved first).
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Io`.
    pub fn model(&self, _name: &ModelName) -> Result<Model, StoreError> {
        todo!()
    }

    /// Lists all models, newest first; broken manifests are skipped with a warning.
    ///
    /// # Errors
    /// Fails when the folders cannot be read.
    pub fn list(&self) -> Result<Vec<ListedModel>, StoreError> {
        todo!()
    }

    /// Reads a GGUF header, cached by path, size and modification time.
    ///
    /// # Errors
    /// Fails when the file is not a readable GGUF file.
    pub fn gguf(&self, _path: &Path) -> Result<Arc<gguf::Metadata>, gguf::GgufError> {
        todo!()
    }

    /// Copies a manifest.
    ///
    /// # Errors
    /// `NotFound` when the source does not exist.
    pub fn copy(&self, _source: &ModelName, _destination: &ModelName) -> Result<(), StoreError> {
        todo!()
    }

    /// Removes a model and the blobs that only it used.
    ///
    /// # Errors
    /// `NotFound` when it does not exist.
    pub fn delete(&self, _name: &ModelName) -> Result<(), StoreError> {
        todo!()
    }

    /// Writes a manifest (compact JSON and a newline), beside and renamed.
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub fn write_manifest(
        &self,
        _name: &ModelName,
        _manifest: &Manifest,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Returns the path of a blob whether or not it exists.
    pub fn blob_path(&self, _digest: &Digest) -> PathBuf {
        todo!()
    }

    pub fn has_blob(&self, _digest: &Digest) -> bool {
        todo!()
    }

    /// Starts a new blob.
    ///
    /// # Errors
    /// Fails when the temporary file cannot be made.
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        todo!()
    }

    /// Stores a small blob and describes it as a layer.
    ///
    /// # Errors
    /// Fails when the blob cannot be written.
    pub fn write_layer(&self, _media_type: &str, _content: &[u8]) -> Result<Layer, StoreError> {
        todo!()
    }
}
