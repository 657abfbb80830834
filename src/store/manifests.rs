//! Finds, reads, writes (to a temporary file that is renamed), copies and deletes manifests.

use std::collections::HashSet;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use jiff::Timestamp;

use super::blobs::{create_beside, make_readable, persist};
use super::layout::{explain, read_at_most, sync_folder};
use super::{Pins, Store, StoreError};
use crate::json::go as go_json;
use crate::model::{Digest, Manifest, ModelName};

/// The prefix of a temporary manifest. It lies three levels down, where neither Ollama nor we look for models.
pub(super) const TEMPORARY: &str = ".drover-";

/// Bytes of a manifest; a model with a thousand tensors in separate files has 250 kB.
const MAX_BYTES: u64 = 2 << 20;

/// A manifest with what is known of its file.
#[derive(Debug)]
pub(super) struct Stored {
    pub manifest: Manifest,
    /// SHA-256 of the file, 64 hex digits.
    pub digest: String,
    pub modified: Timestamp,
}

/// What all manifests mention.
#[derive(Debug, Default)]
pub(super) struct References {
    pub digests: HashSet<Digest>,
    /// Models whose manifest is broken. The digests that its text still names count as mentioned.
    pub broken: Vec<String>,
    /// Some manifest could not be read at all: nothing may be deleted.
    pub unreadable: bool,
}

impl Store {
    /// Replaces the spelling of a name by that of an existing manifest, case ignored.
    ///
    /// A manifest whose whole name matches comes first, then the one with the longest matching beginning; parts
    /// without a match keep their spelling.
    ///
    /// # Errors
    /// Fails when the folders cannot be read.
    pub fn resolve(&self, name: &ModelName) -> Result<ModelName, StoreError> {
        if self.manifest_path(name).is_file() {
            return Ok(name.clone());
        }
        let equal_parts = |other: &ModelName| {
            let pairs = name.parts().into_iter().zip(other.parts());
            pairs
                .take_while(|(ours, theirs)| ours.eq_ignore_ascii_case(theirs))
                .count()
        };
        let mut best: Option<(usize, ModelName)> = None;
        for other in self.names()? {
            let count = equal_parts(&other);
            if count > best.as_ref().map_or(0, |(most, _)| *most) {
                best = Some((count, other));
            }
        }
        let Some((count, other)) = best else {
            return Ok(name.clone());
        };
        let part = |index: usize| {
            if index < count {
                other.parts()[index]
            } else {
                name.parts()[index]
            }
            .to_owned()
        };
        Ok(ModelName {
            host: part(0),
            namespace: part(1),
            model: part(2),
            tag: part(3),
        })
    }

    /// Copies a manifest.
    ///
    /// # Errors
    /// `NotFound` when the source does not exist.
    pub fn copy(&self, source: &ModelName, destination: &ModelName) -> Result<(), StoreError> {
        let (source, destination) = (self.resolve(source)?, self.resolve(destination)?);
        let _guard = self.lock()?;
        let bytes = read_bytes(&self.manifest_path(&source), &source)?;
        if source == destination {
            return Ok(());
        }
        let replaced =
            read_at_most(&self.manifest_path(&destination), MAX_BYTES).unwrap_or_default();
        self.put(&destination, &bytes)?;
        if self.keeps_unused() {
            return Ok(());
        }
        self.remove_unused(&mentioned(&replaced))
    }

    /// Removes a model and the blobs that only it used.
    ///
    /// # Errors
    /// `NotFound` when it does not exist.
    pub fn delete(&self, name: &ModelName) -> Result<(), StoreError> {
        let name = self.resolve(name)?;
        let _guard = self.lock()?;
        let path = self.manifest_path(&name);
        let bytes = read_bytes(&path, &name)?;
        fs_err::remove_file(&path).map_err(|error| explain(&path, error))?;
        self.remove_empty_folders();
        // The manifest's deletion is synced before any blob is deleted.
        sync_folder(&self.manifests_dir())?;
        self.remove_unused(&mentioned(&bytes))
    }

    /// Writes a manifest (compact JSON and a newline) to a temporary file that is renamed.
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub fn write_manifest(&self, name: &ModelName, manifest: &Manifest) -> Result<(), StoreError> {
        self.write_manifest_bytes(name, &encode(manifest)?)
    }

    /// Writes a manifest as it was received: its bytes make the model's digest.
    ///
    /// # Errors
    /// Fails when the bytes are not a manifest or the file cannot be written.
    pub fn write_manifest_bytes(&self, name: &ModelName, bytes: &[u8]) -> Result<(), StoreError> {
        parse(&self.manifest_path(name), bytes)?;
        let _guard = self.lock()?;
        self.put(name, bytes)
    }

    /// Writes a model, replacing an old one if there is one: all blobs must exist, and blobs that only the old
    /// model used are deleted.
    ///
    /// # Errors
    /// `BlobNotFound` when another process deleted a blob meanwhile.
    pub fn replace(
        &self,
        name: &ModelName,
        manifest: &Manifest,
        pins: Pins,
    ) -> Result<(), StoreError> {
        match self.replace_bytes(name, &encode(manifest)?, pins)? {
            Leftover::Kept(error) => Err(error),
            Leftover::None | Leftover::Removed => Ok(()),
        }
    }

    /// [`Self::replace`] with a manifest as it was received, byte for byte.
    ///
    /// # Errors
    /// See there; also when the bytes are not a manifest.
    pub fn replace_bytes(
        &self,
        name: &ModelName,
        bytes: &[u8],
        pins: Pins,
    ) -> Result<Leftover, StoreError> {
        let name = self.resolve(name)?;
        let manifest = &parse(&self.manifest_path(&name), bytes)?;
        let _guard = self.lock()?;
        let new = digests_of(manifest);
        for digest in &new {
            if !self.has_blob(digest) {
                return Err(StoreError::BlobNotFound(*digest));
            }
        }
        let old = read_at_most(&self.manifest_path(&name), MAX_BYTES).unwrap_or_default();
        self.put(&name, bytes)?;
        drop(pins);
        let mut left = mentioned(&old);
        left.retain(|digest| !new.contains(digest));
        if left.is_empty() || self.keeps_unused() {
            return Ok(Leftover::None);
        }
        Ok(match self.remove_unused(&left) {
            Ok(()) => Leftover::Removed,
            Err(error) => Leftover::Kept(error),
        })
    }

    /// Reads a model's manifest.
    ///
    /// # Errors
    /// `NotFound`, or `Corrupt` when the file is not a manifest.
    pub fn manifest(&self, name: &ModelName) -> Result<Manifest, StoreError> {
        Ok(self.stored(&self.resolve(name)?)?.manifest)
    }

    pub(super) fn stored(&self, name: &ModelName) -> Result<Stored, StoreError> {
        let path = self.manifest_path(name);
        let bytes = read_bytes(&path, name)?;
        let metadata = fs_err::metadata(&path).map_err(|error| explain(&path, error))?;
        let modified = Timestamp::try_from(metadata.modified()?).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Stored {
            manifest: parse(&path, &bytes)?,
            digest: Digest::of(&bytes).hex(),
            modified,
        })
    }

    /// Collects what all manifests mention.
    pub(super) fn references(&self) -> Result<References, StoreError> {
        let mut references = References::default();
        for name in self.names()? {
            let path = self.manifest_path(&name);
            let bytes = match read_bytes(&path, &name) {
                Ok(bytes) => bytes,
                // Another process has just deleted it.
                Err(StoreError::NotFound(_)) => continue,
                Err(error) => {
                    tracing::warn!(model = %name.short(), %error, "unreadable manifest, no blob is deleted");
                    references.unreadable = true;
                    continue;
                }
            };
            references.digests.extend(mentioned(&bytes));
            if let Err(error) = parse(&path, &bytes).and_then(|it| check_digests(&path, &it)) {
                tracing::warn!(model = %name.short(), %error, "broken manifest: pull the model again or remove it");
                references.broken.push(name.short());
            }
        }
        Ok(references)
    }

    fn keeps_unused(&self) -> bool {
        let keep = &self.inner.keep_unused;
        keep.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Writes the bytes; the caller holds the lock.
    fn put(&self, name: &ModelName, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.manifest_path(name);
        let (Some(folder), Some(above)) = (path.parent(), path.parent().and_then(Path::parent))
        else {
            return Ok(());
        };
        fs_err::create_dir_all(folder).map_err(|error| explain(folder, error))?;
        let mut file = create_beside(above, TEMPORARY)?;
        file.write_all(bytes)
            .and_then(|()| make_readable(file.as_file()))
            .and_then(|()| file.as_file().sync_all())
            .and_then(|()| persist(file, &path))
            .map_err(|error| explain(&path, error))?;
        sync_folder(folder)?;
        Ok(())
    }

    /// Deletes the candidates that nothing mentions; the caller holds the lock.
    fn remove_unused(&self, candidates: &[Digest]) -> Result<(), StoreError> {
        if candidates.is_empty() {
            return Ok(());
        }
        let references = self.references()?;
        if references.unreadable {
            return Ok(());
        }
        for digest in candidates {
            if references.digests.contains(digest) || self.inner.pins.holds(digest) {
                continue;
            }
            let path = self.blob_path(digest);
            match fs_err::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(explain(&path, error));
                }
                _ => self.inner.headers.forget(&path),
            }
        }
        Ok(())
    }
}

/// What was done with the blobs that only the replaced model used.
#[derive(Debug)]
pub enum Leftover {
    /// There are none, or they are to be kept.
    None,
    /// Those that no other model uses were deleted.
    Removed,
    /// They could not be deleted; the new model is in place.
    Kept(StoreError),
}

fn encode(manifest: &Manifest) -> Result<Vec<u8>, StoreError> {
    go_json::to_vec(manifest).map_err(|error| StoreError::Io(error.into()))
}

fn read_bytes(path: &Path, name: &ModelName) -> Result<Vec<u8>, StoreError> {
    match read_at_most(path, MAX_BYTES) {
        Ok(bytes) => Ok(bytes),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(StoreError::NotFound(name.short()))
        }
        Err(error) => Err(explain(path, error)),
    }
}

/// Reads the first JSON value, as Ollama does.
fn parse(path: &Path, bytes: &[u8]) -> Result<Manifest, StoreError> {
    let corrupt = |reason: String| StoreError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    match serde_json::Deserializer::from_slice(bytes)
        .into_iter::<Manifest>()
        .next()
    {
        Some(Ok(manifest)) => Ok(manifest),
        Some(Err(error)) => Err(corrupt(format!("bad manifest: {error}"))),
        None => Err(corrupt("empty manifest".to_owned())),
    }
}

/// The digests of layers and config; invalid ones are ignored.
fn digests_of(manifest: &Manifest) -> Vec<Digest> {
    manifest
        .blobs()
        .filter_map(|layer| layer.digest.parse().ok())
        .collect()
}

fn check_digests(path: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    match manifest
        .blobs()
        .find(|layer| layer.digest.parse::<Digest>().is_err())
    {
        None => Ok(()),
        Some(layer) => Err(StoreError::Corrupt {
            path: path.to_owned(),
            reason: format!("bad manifest: a layer has the digest {:?}", layer.digest),
        }),
    }
}

/// The digests in a manifest, or in the rest of a torn one.
fn mentioned(bytes: &[u8]) -> Vec<Digest> {
    if let Ok(manifest) = parse(Path::new(""), bytes) {
        return digests_of(&manifest);
    }
    let text = String::from_utf8_lossy(bytes);
    let digests = text.match_indices("sha256").filter_map(|(at, _)| {
        let digest = text.get(at..at + "sha256:".len() + 64)?;
        digest.parse().ok()
    });
    digests.collect()
}
