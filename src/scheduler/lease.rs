//! What callers hold: a place in the queue, then a lease. Dropping either notifies the scheduler.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::event::{EntryId, WaiterId};
use crate::protocol::LoadedInfo;
use crate::runner_client::RunnerHandle;

/// The right to use a loaded runner; while it lives the model stays loaded.
#[derive(Debug)]
pub struct Lease {
    pub(super) entry: EntryId,
    /// The client that holds it.
    pub(super) origin: Arc<str>,
    pub(super) runner: RunnerHandle,
    /// Cap on a request that sets no `num_ctx`, in tokens.
    pub(super) default_ctx: u32,
    pub(super) notes: Notes,
}

/// The smallest context that a request can ask for.
const MIN_CTX: u32 = 4;

impl Lease {
    /// The loaded runner.
    pub fn runner(&self) -> &RunnerHandle {
        &self.runner
    }

    /// The result of the load.
    pub fn info(&self) -> &LoadedInfo {
        self.runner.info()
    }

    /// The context of a request in tokens: its own `num_ctx` as a cap, else the default cap,
    /// at most the pool and the trained length.
    pub fn n_ctx(&self, requested: Option<u32>) -> u32 {
        let info = self.info();
        let limit = match info.n_ctx_train {
            0 => info.n_ctx_pool,
            trained => trained.min(info.n_ctx_pool),
        };
        requested
            .unwrap_or(self.default_ctx)
            .max(MIN_CTX)
            .min(limit.max(MIN_CTX))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let origin = Arc::clone(&self.origin);
        self.notes.write(Note::Released(self.entry, origin));
    }
}

/// Dropped leases that the actor has not yet processed. This is a list, not a channel, because `Drop` can
/// neither wait nor fail. A lease and a waiter each write once, so their number bounds its length.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    inner: Arc<NotesInner>,
}

#[derive(Debug, Default)]
struct NotesInner {
    list: Mutex<Vec<Note>>,
    written: Notify,
    next_waiter: AtomicU64,
}

/// One dropped lease or place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    Released(EntryId, Arc<str>),
    Canceled(WaiterId),
}

impl Notes {
    pub(super) fn write(&self, note: Note) {
        self.inner
            .list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(note);
        self.inner.written.notify_one();
    }

    /// Waits until there are notes, and takes all of them.
    pub(super) async fn read(&self) -> Vec<Note> {
        loop {
            let taken = std::mem::take(
                &mut *self
                    .inner
                    .list
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
            );
            if !taken.is_empty() {
                return taken;
            }
            self.inner.written.notified().await;
        }
    }

    /// Takes a new place in the queue.
    pub(super) fn place(&self) -> Place {
        let id = self.inner.next_waiter.fetch_add(1, Ordering::Relaxed);
        Place {
            id,
            notes: Some(self.clone()),
        }
    }
}

/// A place in the queue; dropping it before it is settled gives it up.
#[derive(Debug)]
pub(super) struct Place {
    id: WaiterId,
    notes: Option<Notes>,
}

impl Place {
    pub(super) fn id(&self) -> WaiterId {
        self.id
    }

    /// The request has its answer.
    pub(super) fn settled(mut self) {
        self.notes = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(notes) = &self.notes {
            notes.write(Note::Canceled(self.id));
        }
    }
}
