//! Digests that an operation in progress depends on: no deletion in this process touches them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Inner, Store};
use crate::model::Digest;

#[derive(Debug, Default)]
pub(super) struct PinCounts(Mutex<HashMap<Digest, usize>>);

impl PinCounts {
    fn counts(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.counts().contains_key(digest)
    }
}

/// Keeps blobs from deletion until it is dropped.
#[derive(Debug)]
pub struct Pins {
    inner: Arc<Inner>,
    digests: Vec<Digest>,
}

impl Store {
    /// Starts an empty set of blobs to keep.
    pub fn pins(&self) -> Pins {
        Pins {
            inner: Arc::clone(&self.inner),
            digests: Vec::new(),
        }
    }
}

impl Pins {
    /// Adds a blob, whether it exists already or not.
    pub fn add(&mut self, digest: Digest) {
        *self.inner.pins.counts().entry(digest).or_default() += 1;
        self.digests.push(digest);
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut counts = self.inner.pins.counts();
        for digest in &self.digests {
            if let Some(count) = counts.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(digest);
                }
            }
        }
    }
}
