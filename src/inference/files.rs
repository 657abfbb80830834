//! The files of a model in the form that llama.cpp loads: examined once, and cached until they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use quick_cache::sync::Cache;

use crate::families::layout::{self, Loadable};
use crate::model::gguf::{self, GgufError, Metadata};
use crate::store::Store;

/// A file of weights with validated hyperparameters.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    pub(super) loadable: Loadable,
    pub(super) numbers: gguf::Hyperparameters,
}

impl Weights {
    pub(super) fn new(loadable: Loadable) -> Result<Self, GgufError> {
        let numbers = gguf::Hyperparameters::read(&loadable.metadata)?;
        Ok(Self { loadable, numbers })
    }
}

/// A cache of translations of files that have another layout than llama.cpp's.
#[derive(Debug)]
pub(super) struct Files {
    translated: Cache<Key, Arc<Result<Loadable, String>>>,
}

/// Cached translations: a header and its view take about as much memory as the header alone.
const N_KEPT: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
    /// It is the projector in the file, not the weights.
    is_projector: bool,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            translated: Cache::new(N_KEPT),
        }
    }
}

impl Files {
    /// Returns a file of weights whose own header is already known. Blocks.
    ///
    /// # Errors
    /// llama.cpp could not load the file, or would end its process on it.
    pub(super) fn weights(
        &self,
        store: &Store,
        path: &Path,
        header: &Metadata,
    ) -> Result<Weights, GgufError> {
        let loadable = if layout::is_foreign(header) {
            self.translate(store, path, false)?
        } else {
            Loadable::original(path, store.gguf_to_load(path)?)
        };
        Weights::new(loadable)
    }

    /// Returns the projector of a model: its first projector file, else the projector in the file of weights.
    /// If it cannot be read, only images are unavailable. Blocks.
    ///
    /// # Errors
    /// The projector cannot be used.
    pub(super) fn projector(
        &self,
        store: &Store,
        weights: Option<(&Path, &Metadata)>,
        projectors: &[PathBuf],
    ) -> Result<Option<Loadable>, GgufError> {
        let checked = |loadable: Loadable| {
            gguf::check_projector(&loadable.metadata)?;
            Ok(Some(loadable))
        };
        let Some(path) = projectors.first() else {
            let Some((path, _)) = weights.filter(|(_, header)| layout::has_projector(header))
            else {
                return Ok(None);
            };
            let projector = self.translate(store, path, true).and_then(checked);
            return Ok(projector.unwrap_or_else(|error| {
                let path = path.display();
                tracing::warn!(%path, %error, "the encoder among the weights cannot be used");
                None
            }));
        };
        match store.gguf(path) {
            Ok(header) if layout::is_foreign(&header) => {
                self.translate(store, path, false).and_then(checked)
            }
            Ok(header) => checked(Loadable::original(path, header)),
            // The runner reports the error.
            Err(_) => Ok(Some(Loadable::original(path, Arc::default()))),
        }
    }

    fn translate(
        &self,
        store: &Store,
        path: &Path,
        is_projector: bool,
    ) -> Result<Loadable, GgufError> {
        let mut file = store.open_file(path)?;
        let found = file.metadata()?;
        let key = Key {
            path: path.to_owned(),
            size: found.len(),
            modified: found.modified().ok(),
            is_projector,
        };
        let translated = self.translated.get_or_insert_with(&key, || {
            let translated = if is_projector {
                layout::projector(path, &mut file)
            } else {
                layout::weights(path, &mut file)
            };
            match translated {
                Ok(loadable) => Ok(Arc::new(Ok(loadable))),
                // The error holds until the file changes.
                Err(GgufError::Invalid(reason)) => Ok(Arc::new(Err(reason))),
                Err(error) => Err(error),
            }
        })?;
        (*translated).clone().map_err(GgufError::Invalid)
    }
}
