//! Garbage collection: files that no manifest mentions and no process is writing.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::layout::{explain, names_in};
use super::manifests::TEMPORARY;
use super::{Store, StoreError};
use crate::model::Digest;

/// Younger files may belong to an operation in progress, perhaps in another process.
const GRACE: SignedDuration = SignedDuration::from_hours(1);

const PARTIAL: &str = "-partial";

impl Store {
    /// Deletes what no manifest mentions, by the rules that Ollama applies at its start. Returns how many blobs
    /// were deleted.
    ///
    /// # Errors
    /// Fails when a folder cannot be read.
    pub fn prune(&self, now: Timestamp) -> Result<usize, StoreError> {
        let _guard = self.lock()?;
        let references = self.references()?;
        // A truncated manifest names only a part of the blobs that were pulled for it; the model's next pull
        // can reuse the rest.
        if references.unreadable || !references.broken.is_empty() {
            tracing::warn!(
                models = ?references.broken,
                "corrupt manifests detected, skipping prune operation; re-pull or delete them to clear"
            );
            return Ok(0);
        }
        let mut removed = 0;
        for unit in self.units()? {
            let used = |digest: Digest| {
                references.digests.contains(&digest) || self.inner.pins.holds(&digest)
            };
            if !unit.is_old(now) || unit.name.parse().is_ok_and(used) {
                continue;
            }
            for name in unit.names() {
                let path = self.blobs_dir().join(name);
                removed += usize::from(remove(&path)?);
                self.inner.headers.forget(&path);
            }
        }
        self.remove_old_temporaries(now)?;
        self.remove_empty_folders();
        Ok(removed)
    }

    /// Files in `blobs`, grouped where they only make sense together: the data of a download with
    /// the states of its parts. Everything else stands alone.
    pub(super) fn units(&self) -> Result<Vec<Unit>, StoreError> {
        let mut units: BTreeMap<String, Vec<BlobFile>> = BTreeMap::new();
        for name in names_in(&self.blobs_dir())? {
            let Some(modified) = modified_file(&self.blobs_dir().join(&name)) else {
                continue;
            };
            let unit = match name.split_once(PARTIAL) {
                Some((blob, _)) => format!("{blob}{PARTIAL}"),
                None => name.clone(),
            };
            units
                .entry(unit)
                .or_default()
                .push(BlobFile { name, modified });
        }
        let units = units.into_iter();
        Ok(units.map(|(name, files)| Unit { name, files }).collect())
    }

    fn remove_old_temporaries(&self, now: Timestamp) -> Result<(), StoreError> {
        let root = self.manifests_dir();
        for host in names_in(&root)?
            .into_iter()
            .map(|name| root.join(name))
            .filter(|path| path.is_dir())
        {
            for namespace in names_in(&host)?
                .into_iter()
                .map(|name| host.join(name))
                .filter(|path| path.is_dir())
            {
                for name in names_in(&namespace)?
                    .into_iter()
                    .filter(|name| name.starts_with(TEMPORARY))
                {
                    let path = namespace.join(name);
                    if modified_file(&path)
                        .is_some_and(|modified| now.duration_since(modified) > GRACE)
                    {
                        remove(&path)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes folders without manifests; `manifests` itself stays. The caller holds the lock.
    pub(super) fn remove_empty_folders(&self) {
        fn sweep(folder: &Path, depth: usize) {
            for name in names_in(folder).unwrap_or_default() {
                let path = folder.join(name);
                if depth < 3 && path.is_dir() {
                    sweep(&path, depth + 1);
                    // Fails on folders that hold something, which is what we want.
                    let _ = fs_err::remove_dir(&path);
                }
            }
        }
        sweep(&self.manifests_dir(), 0);
    }
}

/// Files that only make sense together.
pub(super) struct Unit {
    name: String,
    files: Vec<BlobFile>,
}

impl Unit {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// Whether none of them was written recently.
    pub(super) fn is_old(&self, now: Timestamp) -> bool {
        let newest = self.files.iter().map(|file| file.modified).max();
        newest.is_some_and(|newest| now.duration_since(newest) > GRACE)
    }
}

struct BlobFile {
    name: String,
    modified: Timestamp,
}

/// The modification time of a file or of a link to one; `None` for folders.
fn modified_file(path: &Path) -> Option<Timestamp> {
    let metadata = fs_err::metadata(path)
        .or_else(|_| fs_err::symlink_metadata(path))
        .ok()?;
    if metadata.is_dir() {
        return None;
    }
    metadata
        .modified()
        .ok()
        .and_then(|time| Timestamp::try_from(time).ok())
}

fn remove(path: &Path) -> Result<bool, StoreError> {
    match fs_err::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(explain(path, error)),
    }
}
