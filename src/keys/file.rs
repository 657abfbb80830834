//! The key file: JSON that only its owner can read, replaced as a whole.

use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::MAX_KEYS;
use super::record::Record;

const VERSION: u32 = 1;

/// A limit above the size of the largest valid file.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    keys: Vec<Record>,
}

/// Tells whether a file has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

/// `None` = there is no file.
pub(super) fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    match fs_err::metadata(path) {
        Ok(metadata) => Ok(Some(Stamp {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: metadata.modified().ok(),
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the records; none if there is no file.
pub(super) fn read(path: &Path) -> io::Result<Vec<Record>> {
    let invalid = |error: String| io::Error::new(ErrorKind::InvalidData, error);
    let length = match fs_err::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    if length > MAX_BYTES {
        return Err(invalid("it is too large".to_owned()));
    }
    let text = fs_err::read(path)?;
    let file: File = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
    if file.version != VERSION {
        return Err(invalid(format!(
            "it has version {}, which this drover does not know",
            file.version
        )));
    }
    if file.keys.len() > MAX_KEYS {
        return Err(invalid(format!("it has more than {MAX_KEYS} keys")));
    }
    for (at, record) in file.keys.iter().enumerate() {
        record.check().map_err(invalid)?;
        let earlier = &file.keys[..at];
        if earlier.iter().any(|known| known.name == record.name) {
            return Err(invalid(format!("it has `{}` twice", record.name)));
        }
    }
    Ok(file.keys)
}

/// Writes the records to a temporary file, then renames it.
pub(super) fn write(path: &Path, records: &[Record]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    fs_err::create_dir_all(folder)?;
    let file = File {
        version: VERSION,
        keys: records.to_vec(),
    };
    let mut text = serde_json::to_vec_pretty(&file)?;
    text.push(b'\n');
    // Readable only by its owner.
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(&text)?;
    keep_owner(path, folder, new.as_file())?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    fs_err::File::open(folder)?.sync_all()
}

/// Keeps the file's owner, so that it stays the service's even if root changes it.
fn keep_owner(path: &Path, folder: &Path, new: &std::fs::File) -> io::Result<()> {
    let owner = fs_err::metadata(path).or_else(|_| fs_err::metadata(folder))?;
    let own = new.metadata()?;
    if (own.uid(), own.gid()) == (owner.uid(), owner.gid()) || own.uid() != 0 {
        return Ok(());
    }
    std::os::unix::fs::fchown(new, Some(owner.uid()), Some(owner.gid()))
}
