//! Headers of GGUF files, read once for each state of a file.
//!
//! *Invariant:* the cache has a limit in bytes, and concurrent readers of a file wait for the first one instead
//! of reading the file, too.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Store;
use super::layout::open;
use crate::model::gguf::{GgufError, Metadata};

/// Bytes of all headers in memory: several hundred usual ones.
const BYTES: u64 = 64 << 20;

/// A header has a few hundred tensors and a chat template.
const USUAL_BYTES: usize = 128 << 10;

/// Jobs that may read models' files at once. Each takes a thread, and large headers take a while.
const READERS: usize = 16;

#[derive(Debug)]
pub(super) struct Headers {
    known: Cache<FileState, Known, Weight>,
    readers: Arc<Semaphore>,
}

/// The state of a file at some time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FileState {
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
}

/// A header, or why the file has none.
#[derive(Debug, Clone)]
struct Known {
    header: Result<Arc<Metadata>, String>,
    /// Whether llama.cpp can take its vocabulary; empty = not checked yet.
    vocabulary: Arc<OnceLock<Result<(), String>>>,
    weight: u64,
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<FileState, Known> for Weight {
    fn weight(&self, state: &FileState, known: &Known) -> u64 {
        known.weight + state.path.as_os_str().len() as u64
    }
}

impl Default for Headers {
    fn default() -> Self {
        let n_usual = usize::try_from(BYTES).map_or(0, |bytes| bytes / USUAL_BYTES);
        Self {
            known: Cache::with_weighter(n_usual, BYTES, Weight),
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }
}

impl Headers {
    /// Forgets a deleted file.
    pub(super) fn forget(&self, path: &Path) {
        self.known.retain(|state, _| state.path != path);
    }
}

impl Store {
    /// Reads a GGUF header without its long arrays; cached until the file changes.
    ///
    /// # Errors
    /// Fails when the file is not a readable GGUF file.
    pub fn gguf(&self, path: &Path) -> Result<Arc<Metadata>, GgufError> {
        self.known(path)?.header.map_err(GgufError::Invalid)
    }

    /// The same for a file that is to be loaded: llama.cpp would end its process on a duplicate token. This
    /// check is cached, too.
    ///
    /// # Errors
    /// As [`Self::gguf`], and on such a vocabulary.
    pub fn gguf_to_load(&self, path: &Path) -> Result<Arc<Metadata>, GgufError> {
        let known = self.known(path)?;
        let header = known.header.map_err(GgufError::Invalid)?;
        let looked_at = match known.vocabulary.get() {
            Some(looked_at) => looked_at.clone(),
            None => match self.gguf_checked(path) {
                Ok(_) => known.vocabulary.get_or_init(|| Ok(())).clone(),
                Err(GgufError::Invalid(reason)) => {
                    known.vocabulary.get_or_init(|| Err(reason)).clone()
                }
                Err(error) => return Err(error),
            },
        };
        looked_at.map(|()| header).map_err(GgufError::Invalid)
    }

    fn known(&self, path: &Path) -> Result<Known, GgufError> {
        let mut file = open(path)?;
        let found = file.metadata()?;
        let state = FileState {
            path: path.to_owned(),
            size: found.len(),
            modified: found.modified().ok(),
        };
        self.inner.headers.known.get_or_insert_with(&state, || {
            let (header, weight) = match Metadata::read(&mut file) {
                Ok(header) => {
                    let weight = header.weight();
                    (Ok(Arc::new(header)), weight)
                }
                // The error holds until the file changes.
                Err(GgufError::Invalid(reason)) => {
                    let weight = reason.len() as u64;
                    (Err(reason), weight)
                }
                Err(error) => return Err(error),
            };
            Ok(Known {
                header,
                vocabulary: Arc::default(),
                weight,
            })
        })
    }

    /// Opens a file of a model for reading.
    ///
    /// # Errors
    /// The file does not exist, or is not a regular file.
    pub fn open_file(&self, path: &Path) -> std::io::Result<fs_err::File> {
        open(path)
    }

    /// Reads a GGUF header with its vocabulary and all other arrays; not cached.
    ///
    /// # Errors
    /// As [`Self::gguf`].
    pub fn gguf_whole(&self, path: &Path) -> Result<Metadata, GgufError> {
        Metadata::read_whole(&mut open(path)?)
    }

    /// Reads a GGUF header and checks each token of its vocabulary; not cached.
    ///
    /// # Errors
    /// As [`Self::gguf`], and on duplicate tokens.
    pub fn gguf_checked(&self, path: &Path) -> Result<Metadata, GgufError> {
        Metadata::read_checked(&mut open(path)?)
    }

    /// Bytes of all cached headers.
    #[cfg(test)]
    pub(super) fn header_bytes(&self) -> u64 {
        self.inner.headers.known.weight()
    }

    /// Waits for a turn at reading models' files. Waiting here holds no thread, unlike waiting in
    /// a blocking job.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // Never closed.
        let readers = Arc::clone(&self.inner.headers.readers);
        readers.acquire_owned().await.ok()
    }
}
