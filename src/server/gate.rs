//! Limits concurrent work that takes threads, files or memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use super::origin::Origin;
use crate::error::ErrorKind;

/// How long a request waits for a pass before it is refused with 503. The limit on concurrent requests bounds how many
/// wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// The kinds of long-running work.
#[derive(Debug)]
pub(crate) struct Gates {
    /// Uploads of blobs, from when they have a file.
    pub(crate) uploads: Gate,
    /// Pulls and pushes, which use connections to registries and threads of the blocking pool.
    pub(crate) transfers: Gate,
    /// Creations: each uses a thread of the blocking pool, and possibly a process that quantizes.
    pub(crate) creations: Gate,
    /// Copies and deletions, which wait on such threads for the lock of the model directory.
    pub(crate) changes: Gate,
    /// Readers of the stream of states.
    pub(crate) watchers: Gate,
}

impl Default for Gates {
    fn default() -> Self {
        // Together they leave threads of the blocking pool (512) free for short computations.
        Self {
            uploads: Gate::new("uploads", 256, 64),
            transfers: Gate::new("pulls and pushes", 64, 16),
            creations: Gate::new("creations of models", 16, 8),
            changes: Gate::new("changes of models", 8, 4),
            watchers: Gate::new("readers of the daemon's state", 64, 16),
        }
    }
}

/// Admits a limited number of jobs at once, and fewer for each origin.
#[derive(Debug)]
pub(crate) struct Gate {
    /// For messages.
    what: &'static str,
    all: Arc<Semaphore>,
    n_of_origin: usize,
    origins: Mutex<BTreeMap<Origin, Weak<Semaphore>>>,
}

/// The right to do one job, until it is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    _all: OwnedSemaphorePermit,
    _of_origin: OwnedSemaphorePermit,
}

impl Gate {
    fn new(what: &'static str, n: usize, n_of_origin: usize) -> Self {
        Self {
            what,
            all: Arc::new(Semaphore::new(n)),
            n_of_origin,
            origins: Mutex::default(),
        }
    }

    /// Waits for a pass: first in the origin's own queue, then in the common one.
    ///
    /// # Errors
    /// 503 after [`PATIENCE`].
    pub(crate) async fn enter(&self, origin: Origin) -> Result<Pass, ApiError> {
        let entering = async {
            let of_origin = self.of_origin(origin).acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Pass {
                _all: all,
                _of_origin: of_origin,
            })
        };
        let entered = tokio::time::timeout(PATIENCE, entering).await;
        entered.ok().flatten().ok_or_else(|| {
            let message = format!("too many {} at once, try again later", self.what);
            ApiError::new(ErrorKind::Overloaded, message)
        })
    }

    fn of_origin(&self, origin: Origin) -> Arc<Semaphore> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        origins.retain(|_, semaphore| semaphore.strong_count() > 0);
        let known = origins.get(&origin).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let semaphore = Arc::new(Semaphore::new(self.n_of_origin));
            origins.insert(origin, Arc::downgrade(&semaphore));
            semaphore
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_origin_leaves_room_for_others() {
        let gate = Gate::new("tests", 3, 2);
        let [greedy, modest] =
            ["192.0.2.1", "192.0.2.2"].map(|text| Origin::of(text.parse().unwrap()));
        let first = gate.enter(greedy).await.unwrap();
        let _second = gate.enter(greedy).await.unwrap();
        let refused = gate.enter(greedy).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Overloaded);
        let _other = gate.enter(modest).await.unwrap();
        // Now all passes are taken, until one is dropped.
        let waiting = tokio::join!(gate.enter(modest), async { drop(first) });
        drop(waiting.0.unwrap());
        assert!(gate.enter(greedy).await.is_ok());
    }
}
