//! Limits the time that constraints compute: they do so between two tokens, while all other sequences wait.
//!
//! A constraint may be expensive now and then (the first token of a large one takes some ten milliseconds), but
//! not at every token. A watchdog thread ends a computation that takes too long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use llguidance::CancellationHandle;
use rustix::time::{ClockId, clock_gettime};

/// The longest time of one computation.
const LONGEST: Duration = Duration::from_secs(1);

/// How often the watchdog checks the time while there are constraints.
const PERIOD: Duration = Duration::from_millis(100);

/// CPU time that a sequence has at the start, and what each token adds. Schemas of people and agents take a
/// tenth of a millisecond per token.
const CREDIT: Duration = Duration::from_secs(2);
const PER_TOKEN: Duration = Duration::from_millis(20);

/// The CPU time that a sequence's constraint may still take.
#[derive(Debug)]
pub(super) struct Budget {
    left: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: CREDIT }
    }
}

impl Budget {
    /// Adds the time for a sampled token.
    pub(super) fn earn(&mut self) {
        self.left = (self.left + PER_TOKEN).min(CREDIT);
    }

    /// Pays for a computation; false when nothing is left.
    pub(super) fn spend(&mut self, time: Duration) -> bool {
        self.left = self.left.saturating_sub(time);
        !self.left.is_zero()
    }
}

/// CPU time of this thread.
pub(super) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// One sequence's computations, as the watchdog sees them.
#[derive(Debug)]
pub(super) struct Watched {
    handle: CancellationHandle,
    epoch: Instant,
    /// When the running computation began, in nanoseconds after `epoch`; 0 = none is running.
    begun: AtomicU64,
}

impl Watched {
    /// Runs a computation; its handle is cancelled when it takes too long.
    pub(super) fn run<T>(&self, compute: impl FnOnce() -> T) -> T {
        self.begun.store(self.now().max(1), Ordering::Relaxed);
        let result = compute();
        self.begun.store(0, Ordering::Relaxed);
        result
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn check(&self) {
        let begun = self.begun.load(Ordering::Relaxed);
        if begun > 0 && Duration::from_nanos(self.now().saturating_sub(begun)) > LONGEST {
            self.handle.cancel();
        }
    }
}

/// The watchdog thread; it ends when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Clock {
    shared: Arc<Shared>,
    is_started: AtomicBool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    watched: Vec<Weak<Watched>>,
    is_closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock {
    /// Watches the computations that this handle cancels, until the result is dropped.
    pub(super) fn watch(&self, handle: CancellationHandle) -> Arc<Watched> {
        let watched = Arc::new(Watched {
            handle,
            epoch: Instant::now(),
            begun: AtomicU64::new(0),
        });
        self.shared.lock().watched.push(Arc::downgrade(&watched));
        self.shared.changed.notify_one();
        if !self.is_started.swap(true, Ordering::Relaxed) {
            let shared = Arc::clone(&self.shared);
            let clock = thread::Builder::new().name("constraints".to_owned());
            if let Err(error) = clock.spawn(move || look(&shared)) {
                tracing::warn!("constraints are not timed: {error}");
            }
        }
        watched
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_one();
    }
}

fn look(shared: &Shared) {
    let mut state = shared.lock();
    while !state.is_closed {
        state.watched.retain(|watched| match watched.upgrade() {
            Some(watched) => {
                watched.check();
                true
            }
            None => false,
        });
        state = if state.watched.is_empty() {
            let woken = shared.changed.wait(state);
            woken.unwrap_or_else(PoisonError::into_inner)
        } else {
            let woken = shared.changed.wait_timeout(state, PERIOD);
            woken.unwrap_or_else(PoisonError::into_inner).0
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dear_token_now_and_then_is_fine_but_not_always() {
        let mut budget = Budget::default();
        for _ in 0..1000 {
            assert!(budget.spend(Duration::from_millis(5)));
            budget.earn();
        }
        assert!(budget.spend(Duration::from_millis(900)));
        let dear = Duration::from_millis(120);
        let n_tokens = (0..1000).take_while(|_| {
            budget.earn();
            budget.spend(dear)
        });
        assert!((8..30).contains(&n_tokens.count()));
    }

    #[test]
    fn only_what_takes_too_long_is_cancelled() {
        let clock = Clock::default();
        let (quick, slow) = (CancellationHandle::default(), CancellationHandle::default());
        let watched = clock.watch(quick.clone());
        watched.run(|| ());
        let watched_slow = clock.watch(slow.clone());
        watched_slow.run(|| {
            let begun = Instant::now();
            while !slow.is_cancelled() && begun.elapsed() < Duration::from_secs(60) {
                thread::yield_now();
            }
        });
        assert!(slow.is_cancelled() && !quick.is_cancelled());
    }
}
