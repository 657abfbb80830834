//! The queue of the thread that writes to the daemon.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::protocol::Event;

/// The capacity of the queue. When it is full, senders wait.
const OUTBOX: usize = 1024;

/// The sending end; cheap to clone. Senders wait while the daemon does not read.
#[derive(Debug, Clone)]
pub(super) struct Outbox(SyncSender<Option<Event>>);

/// The receiving end.
pub(super) struct Events(Receiver<Option<Event>>);

/// The daemon is gone.
#[derive(Debug)]
pub(super) struct Gone;

/// Makes both ends.
pub(super) fn outbox() -> (Outbox, Events) {
    let (outbox, events) = sync_channel(OUTBOX);
    (Outbox(outbox), Events(events))
}

impl Outbox {
    /// Sends an event.
    pub(super) fn tell(&self, event: Event) -> Result<(), Gone> {
        self.0.send(Some(event)).map_err(|_| Gone)
    }

    /// Sends an event that may be dropped if the queue is full.
    #[cfg(feature = "llama")]
    pub(super) fn mention(&self, event: Event) {
        let _ = self.0.try_send(Some(event));
    }

    /// Closes the queue, whatever other senders exist.
    pub(super) fn close(&self) {
        // Closed already, if the daemon is gone.
        let _ = self.0.send(None);
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.0.recv().ok().flatten()
    }
}
