//! Limits a key's requests: a number of them run at once, a number wait in the queue, the rest are refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The queue of one key.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    working: u32,
    waiting: u32,
    /// How many requests were refused since a place last became free.
    refused: u32,
    /// How long requests take, as a moving average; zero = unknown yet.
    mean: Duration,
}

/// A place among the running requests, until it is dropped.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    since: Instant,
}

/// A place in the queue.
struct Waiting<'a>(&'a Gate);

/// The queue is full; holds the estimated time until there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full(pub(super) Duration);

impl Gate {
    /// Waits for a place; `most` run at once (read again each time, as limits may change) and
    /// `queue` may wait.
    pub(super) async fn enter(
        self: &Arc<Self>,
        most: impl Fn() -> u32,
        queue: u32,
    ) -> Result<Place, Full> {
        let waiting = {
            let mut state = self.lock();
            // New requests do not overtake waiting ones.
            if state.waiting == 0 && state.working < most() {
                state.working += 1;
                return Ok(self.place());
            }
            if state.waiting >= queue {
                state.refused = state.refused.saturating_add(1);
                return Err(Full(state.mean * state.refused / most().max(1)));
            }
            state.waiting += 1;
            Waiting(self)
        };
        loop {
            self.freed.notified().await;
            let mut state = self.lock();
            if state.working < most() {
                state.working += 1;
                let more_are_free = state.working < most();
                drop(state);
                drop(waiting);
                if more_are_free {
                    self.freed.notify_one();
                }
                return Ok(self.place());
            }
        }
    }

    fn place(self: &Arc<Self>) -> Place {
        Place {
            gate: Arc::clone(self),
            since: Instant::now(),
        }
    }

    /// Running requests.
    pub(super) fn working(&self) -> u32 {
        self.lock().working
    }

    /// Wakes waiting requests, because the limit has changed.
    pub(super) fn look_again(&self) {
        self.freed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        let mut state = self.gate.lock();
        state.working = state.working.saturating_sub(1);
        state.refused = state.refused.saturating_sub(1);
        state.mean = match state.mean {
            Duration::ZERO => took,
            before => (before * 4 + took) / 5,
        };
        drop(state);
        self.gate.freed.notify_one();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.waiting = state.waiting.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn as_many_as_may_work_the_next_wait_and_the_rest_are_refused() {
        let gate = Arc::new(Gate::default());
        let enter = || {
            let gate = Arc::clone(&gate);
            async move { gate.enter(|| 2, 1).await }
        };
        let first = enter().await.unwrap();
        let _second = enter().await.unwrap();
        let mut third = Box::pin(enter());
        assert!((&mut third).now_or_never().is_none());
        assert_eq!(enter().await.unwrap_err(), Full(Duration::ZERO));
        drop(first);
        // The waiting request comes first.
        assert_eq!(gate.working(), 1);
        assert!(
            enter()
                .now_or_never()
                .is_some_and(|entered| entered.is_err())
        );
        let third = third.await.unwrap();
        assert_eq!(gate.working(), 2);
        // A request that leaves the queue makes room in it.
        let mut leaving = Box::pin(enter());
        assert!((&mut leaving).now_or_never().is_none());
        drop(leaving);
        let mut fourth = Box::pin(enter());
        assert!((&mut fourth).now_or_never().is_none());
        drop(third);
        fourth.await.unwrap();
        assert_eq!(gate.working(), 1);
    }

    #[tokio::test]
    async fn a_place_that_was_offered_to_one_who_left_goes_to_the_next() {
        let gate = Arc::new(Gate::default());
        let first = gate.enter(|| 1, 0).await.unwrap();
        let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(gate.enter(|| 1, 5))).collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        drop(first);
        drop(waiting.remove(0));
        waiting.remove(0).await.unwrap();
    }

    #[tokio::test]
    async fn who_is_refused_hears_when_a_place_may_be_free() {
        let gate = Arc::new(Gate::default());
        let mut places = Vec::new();
        for _ in 0..2 {
            places.push(gate.enter(|| 2, 0).await.unwrap());
        }
        let refused = || gate.enter(|| 2, 0).now_or_never().unwrap().unwrap_err();
        assert_eq!(refused(), Full(Duration::ZERO));
        // A request that took about ten seconds.
        let long_ago = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        places[0].since = long_ago;
        drop(places.remove(0));
        places.push(gate.enter(|| 2, 0).await.unwrap());
        // The second refused request is told to wait for the place after the next.
        for seconds in [5, 10] {
            let Full(wait) = refused();
            assert_eq!(wait.as_secs(), seconds);
        }
    }
}
