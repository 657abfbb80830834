//! The paths in a model directory, and the walk over all manifests.

use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::{Store, StoreError};
use crate::model::{Digest, ModelName};

/// How many folders lie between `manifests/` and a manifest's own file.
const MANIFEST_DEPTH: usize = 4;

impl Store {
    /// Returns the path of a blob whether or not it exists.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs_dir().join(digest.file_name())
    }

    pub(super) fn blobs_dir(&self) -> PathBuf {
        self.root().join("blobs")
    }

    pub(super) fn manifests_dir(&self) -> PathBuf {
        self.root().join("manifests")
    }

    pub(super) fn manifest_path(&self, name: &ModelName) -> PathBuf {
        let mut path = self.manifests_dir();
        path.extend(name.parts());
        path
    }

    /// Makes the two folders and renames blobs with names of very old versions.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        for folder in [self.manifests_dir(), self.blobs_dir()] {
            fs_err::create_dir_all(&folder).map_err(|error| explain(&folder, error))?;
        }
        for name in names_in(&self.blobs_dir())? {
            if let Some(hex) = name.strip_prefix("sha256:") {
                let target = self.blobs_dir().join(format!("sha256-{hex}"));
                if !target.exists() {
                    fs_err::rename(self.blobs_dir().join(&name), &target)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the names of all manifests: files exactly four levels down whose path is a name.
    pub(super) fn names(&self) -> Result<Vec<ModelName>, StoreError> {
        let mut names = Vec::new();
        let mut parts = Vec::new();
        collect(&self.manifests_dir(), &mut parts, &mut names)?;
        Ok(names)
    }
}

fn collect(
    folder: &Path,
    parts: &mut Vec<String>,
    names: &mut Vec<ModelName>,
) -> Result<(), StoreError> {
    for part in names_in(folder)? {
        let path = folder.join(&part);
        parts.push(part);
        if parts.len() < MANIFEST_DEPTH {
            if path.is_dir() {
                collect(&path, parts, names)?;
            }
        } else if !path.is_dir()
            && let [host, namespace, model, tag] = parts.as_slice()
            && let Ok(name) = ModelName::from_parts(host, namespace, model, tag)
        {
            names.push(name);
        }
        parts.pop();
    }
    Ok(())
}

/// The names in a folder, sorted; names that are not UTF-8 are never ours. A folder that is gone has no names:
/// another process may have removed it.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(explain(folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| explain(folder, error))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Opens a regular file, or a link to one, for reading. Opening a FIFO in its place could block forever, and a
/// device has no end.
pub(super) fn open(path: &Path) -> io::Result<fs_err::File> {
    if !fs_err::metadata(path)?.is_file() {
        let message = format!("`{}` is no regular file", path.display());
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    fs_err::File::open(path)
}

/// Reads a file of at most `most` bytes into memory. The limit matters because a model's author decides what
/// its manifest names.
pub(super) fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let message = format!("`{}` has more than {most} bytes", path.display());
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Turns a permission error into one that says what to do.
pub(super) fn explain(path: &Path, source: io::Error) -> StoreError {
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory => {
            StoreError::Denied {
                path: path.to_owned(),
                source: strip(source),
            }
        }
        _ => StoreError::Io(source),
    }
}

/// `fs_err` names the path in its text; `Denied` names it once.
fn strip(error: io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or(io::Error::from(error.kind()), io::Error::from_raw_os_error)
}

/// Makes a rename or a deletion in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    fs_err::File::open(folder)?.sync_all()
}

/// Bytes that may still be written to the file system of a path.
///
/// # Errors
/// The system does not report it.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(path)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}
