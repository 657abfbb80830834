//! The queue of the engine's thread.
//!
//! Cancellations and pings have separate lists, which the engine checks first, so they never wait for
//! requests. The number of requests in flight, which the prompt workers limit, bounds all of them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::interrupt::Interrupt;
use super::schedule::state::Prepared;
use crate::protocol::{Priority, RequestId};

/// The sending end.
#[derive(Debug)]
pub(super) struct Inbox<S> {
    mail: Mutex<Mail<S>>,
    arrived: Condvar,
    /// Raised while it holds an interactive request.
    interrupt: Arc<Interrupt>,
}

/// What has arrived since the engine last looked.
#[derive(Debug)]
pub(super) struct Mail<S> {
    pub(super) cancelled: Vec<RequestId>,
    pub(super) pings: Vec<RequestId>,
    /// Questions for a place in the queue: the question's own number, and the request that it is about.
    pub(super) places: Vec<(RequestId, RequestId)>,
    pub(super) prepared: Vec<(RequestId, Prepared<S>)>,
    /// Something else has happened.
    is_woken: bool,
    /// Set when the engine is to stop.
    pub(super) end: Option<End>,
}

/// Why the engine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The daemon asked for it.
    Shutdown,
    /// The daemon is gone.
    Gone,
}

impl<S> Default for Mail<S> {
    fn default() -> Self {
        Self {
            cancelled: Vec::new(),
            pings: Vec::new(),
            places: Vec::new(),
            prepared: Vec::new(),
            is_woken: false,
            end: None,
        }
    }
}

impl<S> Mail<S> {
    fn is_empty(&self) -> bool {
        let is_quiet = self.cancelled.is_empty() && self.pings.is_empty() && self.places.is_empty();
        is_quiet && self.prepared.is_empty() && !self.is_woken && self.end.is_none()
    }
}

impl<S> Default for Inbox<S> {
    fn default() -> Self {
        Self {
            mail: Mutex::default(),
            arrived: Condvar::new(),
            interrupt: Arc::default(),
        }
    }
}

impl<S> Inbox<S> {
    pub(super) fn new(interrupt: Arc<Interrupt>) -> Self {
        Self {
            interrupt,
            ..Self::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Mail<S>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, write: impl FnOnce(&mut Mail<S>)) {
        write(&mut self.lock());
        self.arrived.notify_one();
    }

    /// A request is ready.
    pub(super) fn put(&self, id: RequestId, prepared: Prepared<S>) {
        self.tell(|mail| {
            if prepared.priority() == Priority::Interactive {
                self.interrupt.raise();
            }
            mail.prepared.push((id, prepared));
        });
    }

    /// Cancels a request. One that the engine has not yet taken is dropped at once.
    pub(super) fn cancel(&self, id: RequestId) {
        self.tell(|mail| {
            let n_prepared = mail.prepared.len();
            mail.prepared.retain(|(prepared, _)| *prepared != id);
            if mail.prepared.len() == n_prepared {
                mail.cancelled.push(id);
            }
        });
    }

    /// Asks for a pong.
    pub(super) fn ping(&self, id: RequestId) {
        self.tell(|mail| mail.pings.push(id));
    }

    /// Asks for a request's place in the queue.
    pub(super) fn ask_place(&self, id: RequestId, of: RequestId) {
        self.tell(|mail| mail.places.push((id, of)));
    }

    /// Wakes the engine's thread.
    pub(super) fn wake(&self) {
        self.tell(|mail| mail.is_woken = true);
    }

    /// Nothing more will arrive.
    pub(super) fn end(&self, end: End) {
        self.tell(|mail| mail.end = Some(end));
    }

    /// Takes what has arrived.
    pub(super) fn take(&self) -> Mail<S> {
        let mut mail = self.lock();
        self.interrupt.lower();
        std::mem::take(&mut *mail)
    }

    /// Waits until something arrives.
    pub(super) fn wait(&self) {
        let mail = self.lock();
        let waited = self.arrived.wait_while(mail, |mail| mail.is_empty());
        drop(waited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::schedule::embedding::EmbedJob;
    use crate::protocol::EmbedParams;

    fn prepared(priority: Priority) -> Prepared<()> {
        let params = EmbedParams {
            inputs: Vec::new(),
            n_ctx: 32,
            truncate: true,
            normalize: true,
            priority,
            client: "test".to_owned(),
        };
        Prepared::Embedding(EmbedJob::new(1, params, Vec::new()))
    }

    #[test]
    fn a_person_breaks_off_a_call_for_jobs_until_the_engine_knows() {
        let interrupt = Arc::new(Interrupt::default());
        let inbox = Inbox::new(Arc::clone(&interrupt));
        interrupt.allow(true);
        inbox.put(1, prepared(Priority::Batch));
        assert!(!interrupt.is_due(), "another job waits its turn");
        inbox.put(2, prepared(Priority::Interactive));
        assert!(interrupt.is_due());
        interrupt.allow(false);
        assert!(!interrupt.is_due(), "a call for people goes on");
        interrupt.allow(true);
        assert_eq!(inbox.take().prepared.len(), 2);
        assert!(!interrupt.is_due());
    }
}
