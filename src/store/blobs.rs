//! Blobs: written to a temporary file, hashed on the way, synced and renamed.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::layout::{explain, open, sync_folder};
use super::{Store, StoreError};
use crate::model::{Digest, Layer};

/// Random letters in the names of temporary files.
const RANDOM: usize = 10;

/// A blob that is being written; dropping it without [`BlobWriter::finish`] removes it.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    file: NamedTempFile,
    hash: Sha256,
    size: u64,
}

impl Write for BlobWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BlobWriter {
    /// The temporary file, for programs that write it themselves.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Takes what another program has written into the file as the blob's content.
    ///
    /// # Errors
    /// Fails when it cannot be read.
    pub fn take_written(&mut self) -> Result<(), StoreError> {
        let mut file = fs_err::File::open(self.file.path())?;
        self.hash = Sha256::new();
        self.size = io::copy(&mut file, &mut self.hash)?;
        Ok(())
    }

    /// Checks the digest, syncs and renames the blob to its name.
    ///
    /// # Errors
    /// Fails with `DigestMismatch` when `expected` is another digest.
    pub fn finish(mut self, expected: Option<Digest>) -> Result<(Digest, u64), StoreError> {
        let got = Digest::from_bytes(self.hash.finalize_reset().into());
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            return Err(StoreError::DigestMismatch { expected, got });
        }
        let path = self.store.blob_path(&got);
        if is_file_of_size(&path, self.size) {
            self.store.touch(&got);
            return Ok((got, self.size));
        }
        make_readable(self.file.as_file())?;
        self.file.as_file().sync_all()?;
        persist(self.file, &path)?;
        sync_folder(&self.store.blobs_dir())?;
        Ok((got, self.size))
    }
}

impl Store {
    /// Whether the blob's file exists.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// It does not exist, or is not a regular file.
    pub fn open_blob(&self, digest: &Digest) -> io::Result<fs_err::File> {
        open(&self.blob_path(digest))
    }

    /// Whether the blob's file exists with this size.
    pub fn has_blob_of_size(&self, digest: &Digest, size: u64) -> bool {
        is_file_of_size(&self.blob_path(digest), size)
    }

    /// Starts a new blob.
    ///
    /// # Errors
    /// Fails when the temporary file cannot be made.
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        let folder = self.blobs_dir();
        // A name that Ollama's pruner, and ours, deletes after an hour if we die.
        let file = create_beside(&folder, "sha256-")?;
        Ok(BlobWriter {
            store: self.clone(),
            file,
            hash: Sha256::new(),
            size: 0,
        })
    }

    /// Stores a small blob and describes it as a layer.
    ///
    /// # Errors
    /// Fails when the blob cannot be written.
    pub fn write_layer(&self, media_type: &str, content: &[u8]) -> Result<Layer, StoreError> {
        let digest = Digest::of(content);
        let size = content.len() as u64;
        if is_file_of_size(&self.blob_path(&digest), size) {
            self.touch(&digest);
        } else {
            let mut writer = self.blob_writer()?;
            writer.write_all(content)?;
            writer.finish(Some(digest))?;
        }
        Ok(Layer {
            media_type: media_type.to_owned(),
            digest: digest.to_string(),
            size,
            ..Layer::default()
        })
    }

    /// Describes an existing blob as a layer, and protects it from pruning for a while.
    ///
    /// # Errors
    /// `BlobNotFound`
    pub fn existing_layer(&self, media_type: &str, digest: &Digest) -> Result<Layer, StoreError> {
        let metadata = match fs_err::metadata(self.blob_path(digest)) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Err(StoreError::BlobNotFound(*digest)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(StoreError::BlobNotFound(*digest));
            }
            Err(error) => return Err(explain(&self.blob_path(digest), error)),
        };
        self.touch(digest);
        let (media_type, digest) = (media_type.to_owned(), digest.to_string());
        Ok(Layer {
            media_type,
            digest,
            size: metadata.len(),
            ..Layer::default()
        })
    }

    /// Sets a blob's modification time to now: pruning spares young files.
    pub(super) fn touch(&self, digest: &Digest) {
        let path = self.blob_path(digest);
        let now = || Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now(),
            last_modification: now(),
        };
        if let Err(error) = utimensat(CWD, &path, &times, AtFlags::empty()) {
            tracing::debug!(path = %path.display(), %error, "could not set a blob's time");
        }
    }
}

/// Creates a file named by the prefix and random letters; it is removed unless it gets its final name.
pub(super) fn create_beside(folder: &Path, prefix: &str) -> Result<NamedTempFile, StoreError> {
    let created = tempfile::Builder::new()
        .prefix(prefix)
        .rand_bytes(RANDOM)
        .tempfile_in(folder);
    created.map_err(|error| explain(folder, error))
}

/// Gives a file its final name.
pub(super) fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Gives a file the permissions of Ollama's files, whatever the umask.
pub(super) fn make_readable(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

fn is_file_of_size(path: &Path, size: u64) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}
