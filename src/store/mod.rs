//! The model directory: Ollama's layout, read and written in place.
//!
//! All functions block; async callers use `spawn_blocking`. Several processes may use one directory: manifests
//! and blobs appear by renaming, and every operation that writes manifests or deletes anything holds the
//! directory's lock. *Invariant:* nothing is left in the directory that Ollama would not put there itself or
//! clean up; our own state lives elsewhere.

mod blobs;
mod check;
mod headers;
mod layout;
mod lock;
mod manifests;
mod model;
mod partial;
mod pins;
mod prune;
mod remember;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::model::Digest;
use crate::units::format_bytes;

pub use blobs::BlobWriter;
pub use check::{Checkup, Problem};
pub use layout::free_bytes;
pub use manifests::Leftover;
pub use model::{ListedModel, MAX_JSON, MAX_TEXT, MAX_TEXTS, Model};
pub use partial::{Part, Partial};
pub use pins::Pins;

/// A handle to one model directory; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Unused blobs of replaced models are kept (`OLLAMA_NOPRUNE`).
    keep_unused: AtomicBool,
    pins: pins::PinCounts,
    headers: headers::Headers,
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
    #[error(
        "cannot use `{path}`: {source}; give the user that runs drover access to the model directory and \
         every folder above it, or name another one in OLLAMA_MODELS"
    )]
    Denied {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "not enough disk space in `{path}`: {} needed, {} free; remove a model or move the folder (OLLAMA_MODELS)",
        format_bytes(*needed), format_bytes(*free)
    )]
    NoSpace {
        path: PathBuf,
        /// In bytes.
        needed: u64,
        free: u64,
    },
    #[error("the model directory is locked by {holder}; try again when that is done")]
    Locked { holder: String },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Store {
    /// Opens a model directory, creating it if it does not exist.
    ///
    /// # Errors
    /// Fails when the directories cannot be made or read.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let store = Self::at(root);
        store.prepare()?;
        Ok(store)
    }

    /// A handle to a directory as it is: nothing is created or renamed.
    pub fn at(root: &Path) -> Self {
        Self {
            inner: Arc::new(Inner {
                root: root.to_owned(),
                keep_unused: AtomicBool::new(false),
                pins: pins::PinCounts::default(),
                headers: headers::Headers::default(),
            }),
        }
    }

    /// Keeps unused blobs when a model is replaced (`OLLAMA_NOPRUNE`); deletion is not affected.
    pub fn set_keep_unused(&self, keep: bool) {
        self.inner
            .keep_unused
            .store(keep, std::sync::atomic::Ordering::Relaxed);
    }

    pub fn root(&self) -> &Path {
        &self.inner.root
    }
}
