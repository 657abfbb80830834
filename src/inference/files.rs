//! The files of a model as llama.cpp gets them: looked at once, and remembered until they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use quick_cache::sync::Cache;

use crate::families::layout::{self, Loadable};
use crate::model::gguf::{self, GgufError, Metadata};
use crate::store::Store;

/// A file of weights with numbers that can be relied on.
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

/// What a file in another layout than llama.cpp's becomes.
#[derive(Debug)]
pub(super) struct Files {
    translated: Cache<Key, Arc<Result<Loadable, String>>>,
}

/// Translations that are kept: a header and its view take about as much as the header alone.
const N_KEPT: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
    /// The projector in the file, and not its weights.
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
    /// A file of weights, whose own header is known already. Blocks.
    ///
    /// # Errors
    /// llama.cpp could not load it, or would end its process over it.
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

    /// The projector of a model: its first file of that kind, else what is among its weights. One that
    /// cannot be read costs the images only. Blocks.
    ///
    /// # Errors
    /// It cannot be used.
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
            // The runner says so.
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
                // It stays so until the file changes.
                Err(GgufError::Invalid(reason)) => Ok(Arc::new(Err(reason))),
                Err(error) => Err(error),
            }
        })?;
        (*translated).clone().map_err(GgufError::Invalid)
    }
}
