//! Interrupts a decode call that computes for batch jobs only, when an interactive request arrives.
//!
//! What such a call has computed is dropped and computed again later. Only its time is lost, because tokens are
//! sampled after a call.

use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by the inbox, which raises it, the executor, which allows it, and the backend, which checks it while
/// it computes.
#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    is_raised: AtomicBool,
    is_allowed: AtomicBool,
}

impl Interrupt {
    /// An interactive request waits.
    pub(crate) fn raise(&self) {
        self.is_raised.store(true, Ordering::Relaxed);
    }

    /// The engine has taken all waiting requests.
    pub(crate) fn lower(&self) {
        self.is_raised.store(false, Ordering::Relaxed);
    }

    /// Sets whether the next call may be interrupted.
    pub(crate) fn allow(&self, is_allowed: bool) {
        self.is_allowed.store(is_allowed, Ordering::Relaxed);
    }

    /// Whether the call must end now.
    pub(crate) fn is_due(&self) -> bool {
        self.is_raised.load(Ordering::Relaxed) && self.is_allowed.load(Ordering::Relaxed)
    }
}
