//! The lock of a model directory.
//!
//! An advisory lock on the `blobs` folder itself: it needs no file of its own, it ends with the process, and it
//! works between threads because every caller opens the folder again.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock, major, minor};
use rustix::io::Errno;

use super::layout::explain;
use super::{Store, StoreError};

/// How long to wait for the lock. We hold it for moments; another process that holds it longer (a backup, a
/// script that hangs) may hold it for hours, and each waiter occupies a thread.
const PATIENCE: Duration = Duration::from_secs(10);

/// First and longest time between two attempts.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// Held while manifests are written or anything is deleted; released by dropping.
#[derive(Debug)]
pub(super) struct Guard {
    _folder: fs_err::File,
}

impl Store {
    /// Waits for the lock.
    ///
    /// # Errors
    /// `Locked` when another process holds it for too long.
    pub(super) fn lock(&self) -> Result<Guard, StoreError> {
        self.lock_within(PATIENCE)
    }

    pub(super) fn lock_within(&self, patience: Duration) -> Result<Guard, StoreError> {
        let path = self.blobs_dir();
        let folder = fs_err::File::open(&path).map_err(|error| explain(&path, error))?;
        let [mut pause, longest] = PAUSES;
        let end = Instant::now() + patience;
        loop {
            match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Guard { _folder: folder }),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < end => {
                    wait(pause);
                    pause = longest.min(pause * 2);
                }
                Err(Errno::WOULDBLOCK) => {
                    let holder = holder(&folder);
                    let holder = holder.unwrap_or_else(|| "another process".to_owned());
                    tracing::warn!(path = %path.display(), holder, "the model directory stays locked");
                    return Err(StoreError::Locked { holder });
                }
                Err(error) if matches!(error, Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => {
                    tracing::warn!(path = %path.display(), %error, "the file system has no locks, going on without");
                    return Ok(Guard { _folder: folder });
                }
                Err(error) => return Err(StoreError::Io(error.into())),
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the system tells nobody who would also like to wait for the time only"
)]
fn wait(pause: Duration) {
    std::thread::sleep(pause);
}

/// The process that holds the lock, as Linux lists it: `1: FLOCK  ADVISORY  WRITE 4242 fe:00:131 0 EOF`.
fn holder(folder: &fs_err::File) -> Option<String> {
    let metadata = folder.metadata().ok()?;
    let (device, inode) = (metadata.dev(), metadata.ino());
    let file = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let locks = fs_err::read_to_string("/proc/locks").ok()?;
    let line = locks
        .lines()
        .find(|line| line.split_whitespace().any(|word| word == file))?;
    let pid = line.split_whitespace().nth(4)?;
    let name = fs_err::read_to_string(format!("/proc/{pid}/comm")).ok();
    let name: String = name
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    Some(format!("process {pid} ({name})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_somebody_keeps_is_given_up_with_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let held = store.lock().unwrap();
        let waited = store.lock_within(Duration::from_millis(20)).unwrap_err();
        let StoreError::Locked { holder } = waited else {
            panic!("{waited}")
        };
        if cfg!(target_os = "linux") {
            let this = std::process::id().to_string();
            assert!(holder.contains(&this), "{holder}");
        }
        // A lock that is released meanwhile is taken.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| store.lock().map(drop));
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }
}
