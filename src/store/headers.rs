//! Headers of GGUF files, read once per path, size and modification time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::Store;
use crate::model::gguf::{GgufError, Metadata};

/// Whole headers hold vocabularies (tens of megabytes), so only the last few are kept.
const WHOLE: usize = 4;

/// Brief headers are small; the limit only stops growth over months.
const BRIEF: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Cache {
    whole: Mutex<Headers>,
    brief: Mutex<Headers>,
}

#[derive(Debug, Default)]
struct Headers {
    entries: HashMap<PathBuf, Entry>,
    /// Counts look-ups; the entry with the lowest stamp is the oldest.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    size: u64,
    modified: Option<SystemTime>,
    stamp: u64,
    header: Arc<Metadata>,
}

impl Store {
    /// Reads a GGUF header, cached by path, size and modification time.
    ///
    /// # Errors
    /// Fails when the file is not a readable GGUF file.
    pub fn gguf(&self, path: &Path) -> Result<Arc<Metadata>, GgufError> {
        cached(&self.inner.headers.whole, WHOLE, path, |file| {
            Metadata::read(file)
        })
    }

    /// Reads a GGUF header without long arrays (vocabularies are `null`): for lists of models.
    ///
    /// # Errors
    /// Fails when the file is not a readable GGUF file.
    pub fn gguf_brief(&self, path: &Path) -> Result<Arc<Metadata>, GgufError> {
        cached(&self.inner.headers.brief, BRIEF, path, |file| {
            Metadata::read_brief(file)
        })
    }
}

fn cached(
    headers: &Mutex<Headers>,
    most: usize,
    path: &Path,
    read: impl Fn(&mut fs_err::File) -> Result<Metadata, GgufError>,
) -> Result<Arc<Metadata>, GgufError> {
    let mut file = fs_err::File::open(path)?;
    let found = file.metadata()?;
    let (size, modified) = (found.len(), found.modified().ok());
    if let Some(header) = lock(headers).look_up(path, size, modified) {
        return Ok(header);
    }
    let header = Arc::new(read(&mut file)?);
    let mut headers = lock(headers);
    headers.clock += 1;
    let entry = Entry {
        size,
        modified,
        stamp: headers.clock,
        header: Arc::clone(&header),
    };
    headers.entries.insert(path.to_owned(), entry);
    headers.shrink(most);
    Ok(header)
}

fn lock(headers: &Mutex<Headers>) -> std::sync::MutexGuard<'_, Headers> {
    headers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Headers {
    fn look_up(
        &mut self,
        path: &Path,
        size: u64,
        modified: Option<SystemTime>,
    ) -> Option<Arc<Metadata>> {
        self.clock += 1;
        let entry = self.entries.get_mut(path)?;
        if entry.size != size || entry.modified != modified {
            return None;
        }
        entry.stamp = self.clock;
        Some(Arc::clone(&entry.header))
    }

    fn shrink(&mut self, most: usize) {
        while self.entries.len() > most {
            let oldest = self
                .entries
                .iter()
                .min_by_key(|(_, entry)| entry.stamp)
                .map(|(path, _)| path.clone());
            let Some(oldest) = oldest else { return };
            self.entries.remove(&oldest);
        }
    }
}
