//! Limits who may use workers: a total, and a share for each owner.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many owners are kept before those without requests are removed.
const MANY_OWNERS: usize = 64;

/// Admits requests in order of arrival, within limits.
///
/// *Invariant:* an owner has at most `n_each` requests admitted or next in line. So an owner whose
/// templates never end leaves workers for the others, and a request waits for at most `n_each` of every
/// other owner.
#[derive(Debug)]
pub(super) struct Gate {
    all: Arc<Semaphore>,
    n_each: usize,
    owners: Mutex<HashMap<u64, Weak<Semaphore>>>,
    /// Permits for waiting requests.
    waiting: Semaphore,
}

/// The right to use a worker, until it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Too many requests are waiting.
#[derive(Debug)]
pub(super) struct Full;

impl Gate {
    /// Admits `n_all` at once, `n_each` of one owner; `n_waiting` more may wait, and others are refused.
    pub(super) fn new(n_all: usize, n_each: usize, n_waiting: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(n_all)),
            n_each,
            owners: Mutex::default(),
            waiting: Semaphore::new(n_waiting),
        }
    }

    /// Waits for a pass; dropping the future leaves the queue.
    pub(super) async fn pass(&self, owner: u64) -> Result<Pass, Full> {
        let _place = self.waiting.try_acquire().map_err(|_| Full)?;
        // The semaphores are never closed.
        let own = self.own(owner).acquire_owned().await.map_err(|_| Full)?;
        let all = Arc::clone(&self.all).acquire_owned();
        Ok(Pass {
            _own: own,
            _all: all.await.map_err(|_| Full)?,
        })
    }

    fn own(&self, owner: u64) -> Arc<Semaphore> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = owners.get(&owner).and_then(Weak::upgrade) {
            return own;
        }
        if owners.len() >= MANY_OWNERS {
            owners.retain(|_, own| own.strong_count() > 0);
        }
        let own = Arc::new(Semaphore::new(self.n_each));
        owners.insert(owner, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn an_owner_leaves_room_for_others() {
        let gate = Gate::new(4, 2, 100);
        let first = gate.pass(1).await.unwrap();
        let _second = gate.pass(1).await.unwrap();
        let mut third = Box::pin(gate.pass(1));
        assert!((&mut third).now_or_never().is_none());
        let other = gate.pass(2).now_or_never();
        assert!(other.is_some_and(|pass| pass.is_ok()));
        drop(first);
        assert!(third.now_or_never().is_some_and(|pass| pass.is_ok()));
    }

    #[tokio::test]
    async fn an_owner_with_a_long_line_is_no_reason_to_wait_long() {
        let gate = Gate::new(2, 1, 100);
        let busy = gate.pass(1).await.unwrap();
        let mut line: Vec<_> = (0..50).map(|_| Box::pin(gate.pass(1))).collect();
        for waiting in &mut line {
            assert!(waiting.now_or_never().is_none());
        }
        let _other = gate.pass(2).await.unwrap();
        let mut late = Box::pin(gate.pass(3));
        assert!((&mut late).now_or_never().is_none());
        drop(busy);
        assert!(late.now_or_never().is_some(), "behind 50 of another owner");
    }

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_is_told_at_once() {
        let gate = Gate::new(1, 1, 2);
        let inside = gate.pass(1).await.unwrap();
        let mut line: Vec<_> = (0..2).map(|_| Box::pin(gate.pass(1))).collect();
        for waiting in &mut line {
            assert!(waiting.now_or_never().is_none());
        }
        assert!(gate.pass(2).await.is_err());
        line.pop();
        let mut fourth = Box::pin(gate.pass(2));
        assert!(
            (&mut fourth).now_or_never().is_none(),
            "the place is free again"
        );
        drop((inside, line));
        fourth.await.unwrap();
    }

    #[tokio::test]
    async fn owners_without_requests_are_forgotten() {
        let gate = Gate::new(4, 2, 100);
        for owner in 0..1000 {
            drop(gate.pass(owner).await.unwrap());
        }
        let owners = gate.owners.lock().unwrap();
        assert!(owners.len() <= MANY_OWNERS, "{}", owners.len());
    }
}
