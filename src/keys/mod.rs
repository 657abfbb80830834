//! API keys: which clients may use the server, for what, and how much.
//!
//! A key is 256 random bits and is shown once. The file has its hash, with a name, scopes, models and limits
//! ([`Record`]); what a key has used lives in memory. The daemon owns the file while it runs; changes by others
//! (a Kubernetes secret, `drover key --file`) are noticed by [`Keys::refresh`].
//!
//! *Invariants:* a key itself is never stored or logged; a file that cannot be read never opens the server:
//! at start it is an error, later the keys that were read before stay.

mod file;
mod gate;
mod owner;
mod pattern;
mod record;
mod secret;
mod usage;
mod window;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub use gate::Place;
pub use owner::{Owner, Seen};
pub use record::{Class, Limits, Record, Scope, Scopes, Wish};
pub use secret::{Secret, looks_like_key};
pub use usage::{Refused, State, Usage};

use file::Stamp;

/// The most keys: each request's key is compared with all of them.
const MAX_KEYS: usize = 1000;

/// The prefix of the client of a request that has a key (`key-ID`); no address begins like this.
const CLIENT: &str = "key-";

/// A key in use.
#[derive(Debug)]
pub struct Key {
    pub record: Record,
    pub usage: Arc<Usage>,
    /// Cancelled when the key is revoked: answers in progress end.
    pub revoked: CancellationToken,
    /// Unix seconds; 0 = not used since the start.
    last_used: AtomicI64,
}

impl Key {
    fn new(record: Record) -> Self {
        Self {
            usage: Arc::new(Usage::new(record.limits)),
            record,
            revoked: CancellationToken::new(),
            last_used: AtomicI64::new(0),
        }
    }

    /// Its name as the client of requests, for fair scheduling.
    pub fn client(&self) -> String {
        format!("{CLIENT}{}", self.record.id())
    }

    /// When it was last used since the start.
    pub fn last_used(&self) -> Option<Timestamp> {
        let second = self.last_used.load(Ordering::Relaxed);
        (second > 0).then(|| Timestamp::from_second(second).ok())?
    }

    /// Whether it may use a model, given by its short name.
    pub fn allows_model(&self, short_name: &str) -> bool {
        pattern::allows(&self.record.models, short_name)
    }
}

/// Why a key is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("it is not known, or was revoked")]
    Unknown,
    #[error("it has expired")]
    Expired,
}

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("{0}")]
    Invalid(String),
    #[error("there is a key `{0}` already")]
    Exists(String),
    #[error("there is no key `{0}`")]
    Missing(String),
    #[error(
        "`{0}` is the last key: without one, everybody who reaches the server may do everything. Create another one first, or say that this is what you want"
    )]
    Last(String),
    #[error(
        "there is no file of keys {0} (DROVER_KEYS_FILE): `drover key create NAME --file {0}` makes one"
    )]
    NoFile(String),
    #[error("cannot use the keys in {path}: {error}")]
    Io { path: String, error: io::Error },
}

/// All keys; cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` = there is no file; keys are forgotten when the process ends.
    path: Option<PathBuf>,
    table: RwLock<Vec<Arc<Key>>>,
    /// The state of the file that was read or written last. Its lock also serializes changes.
    stamp: Mutex<Option<Stamp>>,
}

impl Keys {
    /// Reads the keys of a file; none if there is no such file, unless it must be there. Blocks.
    ///
    /// # Errors
    /// The file cannot be read, or is not valid.
    pub fn open(path: &Path, must_exist: bool) -> Result<Self, KeysError> {
        if must_exist && !path.exists() {
            return Err(KeysError::NoFile(path.display().to_string()));
        }
        let keys = Self(Arc::new(Inner {
            path: Some(path.to_owned()),
            table: RwLock::default(),
            stamp: Mutex::default(),
        }));
        keys.refresh()?;
        Ok(keys)
    }

    /// No keys, and no file.
    pub fn none() -> Self {
        Self(Arc::new(Inner {
            path: None,
            table: RwLock::default(),
            stamp: Mutex::default(),
        }))
    }

    /// Whether there are keys, expired ones included: then requests need one.
    pub fn are_defined(&self) -> bool {
        !self.read().is_empty()
    }

    /// Finds the key that a client presents.
    ///
    /// # Errors
    /// See [`Invalid`].
    pub fn find(&self, presented: &str, now: Timestamp) -> Result<Arc<Key>, Invalid> {
        let hash = secret::hash(presented);
        let table = self.read();
        // Compares with all keys, so that the time reveals nothing.
        let mut found = None;
        for key in table.iter() {
            if secret::is_equal(&hash, &key.record.hash) {
                found = Some(key);
            }
        }
        let key = found.ok_or(Invalid::Unknown)?;
        if key.record.has_expired(now) {
            return Err(Invalid::Expired);
        }
        key.last_used.store(now.as_second(), Ordering::Relaxed);
        Ok(Arc::clone(key))
    }

    /// The key of a request's client, in the format of [`Key::client`] (a path may follow); `Ok(None)` = the request
    /// has no key.
    ///
    /// # Errors
    /// The request had a key that is no longer valid.
    pub fn of_client(&self, client: &str, now: Timestamp) -> Result<Option<Arc<Key>>, Invalid> {
        let Some(rest) = client.strip_prefix(CLIENT) else {
            return Ok(None);
        };
        let id = rest.split('/').next().unwrap_or_default();
        let table = self.read();
        let key = table.iter().find(|key| key.record.id() == id);
        let key = key.ok_or(Invalid::Unknown)?;
        if key.record.has_expired(now) {
            return Err(Invalid::Expired);
        }
        Ok(Some(Arc::clone(key)))
    }

    /// All keys, by name.
    pub fn list(&self) -> Vec<Arc<Key>> {
        self.read().clone()
    }

    /// Makes a key. Blocks.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub fn create(&self, wish: Wish, now: Timestamp) -> Result<(Secret, Arc<Key>), KeysError> {
        let secret = Secret::random();
        let record = wish.into_record(&secret, now).map_err(KeysError::Invalid)?;
        let name = record.name.clone();
        self.change(|records| {
            if records.iter().any(|known| known.name == record.name) {
                return Err(KeysError::Exists(record.name));
            }
            if records.len() >= MAX_KEYS {
                let message = format!("there are {MAX_KEYS} keys, which is the most");
                return Err(KeysError::Invalid(message));
            }
            records.push(record);
            Ok(())
        })?;
        let table = self.read();
        let key = table.iter().find(|key| key.record.name == name);
        let key = key.ok_or(KeysError::Missing(name))?;
        Ok((secret, Arc::clone(key)))
    }

    /// Revokes a key; the last one only if `may_be_last`. Blocks.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub fn revoke(&self, name: &str, may_be_last: bool) -> Result<(), KeysError> {
        self.change(|records| {
            let at = records.iter().position(|record| record.name == name);
            let at = at.ok_or_else(|| KeysError::Missing(name.to_owned()))?;
            if records.len() == 1 && !may_be_last {
                return Err(KeysError::Last(name.to_owned()));
            }
            records.remove(at);
            Ok(())
        })
    }

    /// Reads the file again if it has changed; returns whether it had. Blocks.
    ///
    /// # Errors
    /// The file cannot be read: the keys stay as they were.
    pub fn refresh(&self) -> Result<bool, KeysError> {
        let Some(path) = &self.0.path else {
            return Ok(false);
        };
        let mut stamp = self.stamp();
        let now = file::stamp(path).map_err(|error| failed(path, error))?;
        if *stamp == now {
            return Ok(false);
        }
        if now.is_none() {
            return Err(failed(path, gone()));
        }
        // An invalid file is not read again until it changes.
        *stamp = now;
        let records = file::read(path).map_err(|error| failed(path, error))?;
        self.replace(records);
        Ok(true)
    }

    /// Applies a change to the file's present records, and writes the file.
    fn change(
        &self,
        change: impl FnOnce(&mut Vec<Record>) -> Result<(), KeysError>,
    ) -> Result<(), KeysError> {
        let mut stamp = self.stamp();
        let Some(path) = &self.0.path else {
            let mut records: Vec<_> = self.read().iter().map(|key| key.record.clone()).collect();
            change(&mut records)?;
            self.replace(records);
            return Ok(());
        };
        let is_there = file::stamp(path).map_err(|error| failed(path, error))?;
        if stamp.is_some() && is_there.is_none() {
            return Err(failed(path, gone()));
        }
        let mut records = file::read(path).map_err(|error| failed(path, error))?;
        change(&mut records)?;
        records.sort_by(|a, b| a.name.cmp(&b.name));
        file::write(path, &records).map_err(|error| failed(path, error))?;
        *stamp = file::stamp(path).map_err(|error| failed(path, error))?;
        self.replace(records);
        Ok(())
    }

    /// Applies records; keys that stay keep their usage.
    fn replace(&self, records: Vec<Record>) {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *table);
        *table = records
            .into_iter()
            .map(|record| {
                let known = before.iter().position(|key| key.record.hash == record.hash);
                match known.map(|at| before.swap_remove(at)) {
                    None => Arc::new(Key::new(record)),
                    Some(key) if key.record == record => key,
                    Some(key) => {
                        key.usage.set_limits(record.limits);
                        Arc::new(Key {
                            usage: Arc::clone(&key.usage),
                            revoked: key.revoked.clone(),
                            last_used: AtomicI64::new(key.last_used.load(Ordering::Relaxed)),
                            record,
                        })
                    }
                }
            })
            .collect();
        drop(table);
        for gone in before {
            gone.revoked.cancel();
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Key>>> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn stamp(&self) -> std::sync::MutexGuard<'_, Option<Stamp>> {
        self.0.stamp.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error for a file that was removed: the keys that were read stay until the next start.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the file is gone")
}

fn failed(path: &Path, error: io::Error) -> KeysError {
    KeysError::Io {
        path: path.display().to_string(),
        error,
    }
}

#[cfg(test)]
mod tests;
