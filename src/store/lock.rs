//! The lock of a model directory.
//!
//! An advisory lock on the `blobs` folder itself: it needs no file of its own, it ends with the
//! process, and it works between threads because every taker opens the folder anew.

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::layout::explain;
use super::{Store, StoreError};

/// Held while manifests are written or anything is deleted; released by dropping.
#[derive(Debug)]
pub(super) struct Guard {
    _folder: fs_err::File,
}

impl Store {
    pub(super) fn lock(&self) -> Result<Guard, StoreError> {
        let path = self.blobs_dir();
        let folder = fs_err::File::open(&path).map_err(|error| explain(&path, error))?;
        loop {
            match flock(&folder, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Guard { _folder: folder }),
                Err(Errno::INTR) => {}
                Err(error) if matches!(error, Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => {
                    tracing::warn!(path = %path.display(), %error, "the file system has no locks, going on without");
                    return Ok(Guard { _folder: folder });
                }
                Err(error) => return Err(StoreError::Io(error.into())),
            }
        }
    }
}
