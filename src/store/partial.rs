//! A blob that is being downloaded: its data, and the progress of each part.
//!
//! The files are Ollama's: `<blob>-partial` has the blob's full length, `<blob>-partial-<N>` is the state of a
//! part. Either program can resume what the other has begun. *Invariants:* a state never claims bytes that are
//! not written; the blob gets its name only after its content was verified.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::blobs::make_readable;
use super::layout::{explain, free_bytes, names_in, sync_folder};
use super::{Store, StoreError};
use crate::model::Digest;

/// A download that can be resumed.
#[derive(Debug)]
pub struct Partial {
    store: Store,
    digest: Digest,
    size: u64,
    file: fs_err::File,
    parts: Vec<Part>,
    /// Held while states are written or removed.
    states: Mutex<States>,
}

/// Whether state files may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum States {
    Kept,
    /// The download is over. Otherwise a concurrent save would recreate them.
    Gone,
}

/// A piece of the blob that is fetched from its beginning to its end.
#[derive(Debug)]
pub struct Part {
    number: usize,
    offset: u64,
    size: u64,
    completed: AtomicU64,
    /// The progress in its state file.
    noted: AtomicU64,
}

/// A part's state file; the names are Ollama's.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    #[serde(rename = "N")]
    number: usize,
    #[serde(rename = "Offset")]
    offset: u64,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Completed")]
    completed: u64,
}

impl Part {
    fn new(number: usize, offset: u64, size: u64, completed: u64) -> Self {
        Self {
            number,
            offset,
            size,
            completed: AtomicU64::new(completed),
            noted: AtomicU64::new(completed),
        }
    }

    /// The bytes of the blob that are still missing.
    pub fn missing(&self) -> std::ops::Range<u64> {
        self.offset + self.completed()..self.offset + self.size
    }

    pub fn completed(&self) -> u64 {
        self.completed.load(Ordering::Acquire)
    }
}

impl Store {
    /// Opens the download of a blob of `size` bytes, in parts of `part_size`; resumes an earlier attempt if its
    /// parts match this blob. `None` = another process is downloading it.
    ///
    /// # Errors
    /// Fails when the files cannot be made, or with `NoSpace` when the rest would not fit.
    pub fn partial(
        &self,
        digest: Digest,
        size: u64,
        part_size: u64,
    ) -> Result<Option<Partial>, StoreError> {
        let path = self.partial_path(&digest);
        let mut options = fs_err::OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let file = options.open(&path).map_err(|error| explain(&path, error))?;
        if !is_free(&file)? || !is_at(&file, &path)? {
            return Ok(None);
        }
        let is_whole = file.metadata()?.len() == size;
        let known = if is_whole {
            self.states(&digest, size)?
        } else {
            None
        };
        let is_known = known.is_some();
        let mut partial = Partial {
            store: self.clone(),
            digest,
            size,
            file,
            parts: known.unwrap_or_default(),
            states: Mutex::new(States::Kept),
        };
        self.check_space(size - partial.completed())?;
        if !is_known {
            partial.plan(part_size)?;
        }
        Ok(Some(partial))
    }

    /// Fails unless there is room for the missing bytes of these blobs, given with their sizes.
    ///
    /// # Errors
    /// `NoSpace`, or the folder cannot be read.
    pub fn check_room(&self, blobs: &[(Digest, u64)]) -> Result<(), StoreError> {
        let mut needed = 0_u64;
        for (digest, size) in blobs {
            if self.has_blob_of_size(digest, *size) {
                continue;
            }
            let parts = self.states(digest, *size)?.unwrap_or_default();
            let there: u64 = parts.iter().map(Part::completed).sum();
            needed = needed.saturating_add(size - there);
        }
        self.check_space(needed)
    }

    fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.blobs_dir()
            .join(format!("{}-partial", digest.file_name()))
    }

    /// The states of an earlier attempt, if they cover the whole blob.
    fn states(&self, digest: &Digest, size: u64) -> Result<Option<Vec<Part>>, StoreError> {
        let mut parts = Vec::new();
        for path in self.state_paths(digest)? {
            let Some(state) = read_state(&path) else {
                return Ok(None);
            };
            if state.completed > state.size {
                return Ok(None);
            }
            let State { number, offset, .. } = state;
            parts.push(Part::new(number, offset, state.size, state.completed));
        }
        parts.sort_by_key(|part| part.offset);
        let mut end = 0_u64;
        for part in &parts {
            if part.offset != end {
                return Ok(None);
            }
            end = end.saturating_add(part.size);
        }
        Ok((end == size && !parts.is_empty()).then_some(parts))
    }

    fn state_paths(&self, digest: &Digest) -> Result<Vec<PathBuf>, StoreError> {
        let prefix = format!("{}-partial-", digest.file_name());
        let names = names_in(&self.blobs_dir())?.into_iter();
        let names = names.filter(|name| name.starts_with(&prefix));
        Ok(names.map(|name| self.blobs_dir().join(name)).collect())
    }

    fn check_space(&self, needed: u64) -> Result<(), StoreError> {
        let path = self.blobs_dir();
        match free_bytes(&path) {
            Ok(free) if needed > free => Err(StoreError::NoSpace { path, needed, free }),
            _ => Ok(()),
        }
    }
}

impl Partial {
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that are present.
    pub fn completed(&self) -> u64 {
        self.parts.iter().map(Part::completed).sum()
    }

    /// Bytes that are present from the beginning on, without a gap.
    pub fn contiguous(&self) -> u64 {
        let mut end = 0;
        for part in &self.parts {
            end = part.missing().start;
            if !part.missing().is_empty() {
                break;
            }
        }
        end
    }

    /// Writes the next bytes of a part.
    ///
    /// # Errors
    /// Fails when they cannot be written, or are more than the part lacks.
    pub fn write(&self, part: &Part, bytes: &[u8]) -> Result<(), StoreError> {
        let missing = part.missing();
        let length = bytes.len() as u64;
        if length > missing.end - missing.start {
            let error = io::Error::new(ErrorKind::InvalidData, "more bytes than a part has");
            return Err(error.into());
        }
        self.file.file().write_all_at(bytes, missing.start)?;
        part.completed.fetch_add(length, Ordering::AcqRel);
        Ok(())
    }

    /// Reads bytes that are present.
    ///
    /// # Errors
    /// Fails when they cannot be read.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        Ok(self.file.file().read_exact_at(buffer, offset)?)
    }

    /// Saves the parts' progress, so that a later attempt can resume there.
    ///
    /// # Errors
    /// Fails when the data or a state cannot be written.
    pub fn save(&self) -> Result<(), StoreError> {
        let states = self.lock_states();
        if *states == States::Gone {
            return Ok(());
        }
        let completed: Vec<u64> = self.parts.iter().map(Part::completed).collect();
        let news = self.parts.iter().zip(completed);
        let is_news =
            |(part, completed): &(&Part, u64)| part.noted.load(Ordering::Acquire) != *completed;
        let news: Vec<_> = news.filter(is_news).collect();
        if news.is_empty() {
            return Ok(());
        }
        // First the bytes, then the states that claim them.
        self.file.sync_data()?;
        for (part, completed) in news {
            self.note(part, completed)?;
        }
        Ok(())
    }

    fn note(&self, part: &Part, completed: u64) -> Result<(), StoreError> {
        let state = State {
            number: part.number,
            offset: part.offset,
            size: part.size,
            completed,
        };
        let mut text = serde_json::to_vec(&state).map_err(io::Error::from)?;
        text.push(b'\n');
        let path = self.state_path(part.number);
        // Written to a temporary file: half a state would cost the whole download. Neither program takes this
        // name for a state, and both clean it up.
        let name = format!("{}.state-{}", self.digest.file_name(), part.number);
        let beside = self.store.blobs_dir().join(name);
        fs_err::write(&beside, text)
            .and_then(|()| fs_err::rename(&beside, &path))
            .map_err(|error| explain(&path, error))?;
        part.noted.store(completed, Ordering::Release);
        Ok(())
    }

    /// Starts over as a single part, for servers that do not send parts.
    ///
    /// # Errors
    /// Fails when the states cannot be written.
    pub fn restart_whole(&mut self) -> Result<(), StoreError> {
        self.plan(self.size)
    }

    /// Gives the blob its name, after its content was verified.
    ///
    /// # Errors
    /// Fails when the file system does.
    pub fn finish(&self) -> Result<(), StoreError> {
        let mut states = self.lock_states();
        make_readable(self.file.file())?;
        self.file.sync_all()?;
        let path = self.store.blob_path(&self.digest);
        fs_err::rename(self.store.partial_path(&self.digest), &path)
            .map_err(|error| explain(&path, error))?;
        *states = States::Gone;
        self.remove_states()?;
        sync_folder(&self.store.blobs_dir())?;
        Ok(())
    }

    /// Deletes the data and the states.
    ///
    /// # Errors
    /// Fails when the files cannot be removed.
    pub fn discard(&self) -> Result<(), StoreError> {
        let mut states = self.lock_states();
        *states = States::Gone;
        self.remove_states()?;
        let path = self.store.partial_path(&self.digest);
        fs_err::remove_file(&path).map_err(|error| explain(&path, error))
    }

    fn lock_states(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&mut self, part_size: u64) -> Result<(), StoreError> {
        self.remove_states()?;
        let part_size = part_size.max(1);
        self.parts = (0..self.size.div_ceil(part_size).max(1))
            .enumerate()
            .map(|(number, index)| {
                let offset = index * part_size;
                Part::new(number, offset, part_size.min(self.size - offset), 0)
            })
            .collect();
        self.file.set_len(self.size)?;
        self.parts.iter().try_for_each(|part| self.note(part, 0))
    }

    fn remove_states(&self) -> Result<(), StoreError> {
        for path in self.store.state_paths(&self.digest)? {
            fs_err::remove_file(&path).map_err(|error| explain(&path, error))?;
        }
        Ok(())
    }

    fn state_path(&self, number: usize) -> PathBuf {
        let name = format!("{}-partial-{number}", self.digest.file_name());
        self.store.blobs_dir().join(name)
    }
}

fn read_state(path: &std::path::Path) -> Option<State> {
    serde_json::from_slice(&fs_err::read(path).ok()?).ok()
}

/// Whether the path still leads to this file: another process may have finished it meanwhile.
fn is_at(file: &fs_err::File, path: &std::path::Path) -> Result<bool, StoreError> {
    let ours = file.metadata()?;
    Ok(path
        .metadata()
        .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
}

/// Takes the lock of a download, which ends with the file's handle. On file systems without locks it counts as
/// free.
fn is_free(file: &fs_err::File) -> Result<bool, StoreError> {
    use rustix::io::Errno;
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) | Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(StoreError::Io(error.into())),
    }
}

#[cfg(test)]
mod tests;
