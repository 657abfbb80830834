//! The way to the thread that writes to the daemon.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::protocol::Event;

/// Frames that may wait for the daemon to read.
const OUTBOX: usize = 1024;

/// Takes events; cheap to clone. Whoever gives one waits while the daemon does not read.
#[derive(Debug, Clone)]
pub(super) struct Outbox(SyncSender<Option<Event>>);

/// The other end of it.
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
    /// Tells something.
    pub(super) fn tell(&self, event: Event) -> Result<(), Gone> {
        self.0.send(Some(event)).map_err(|_| Gone)
    }

    /// Tells something that may be lost where the daemon does not keep up.
    #[cfg(feature = "llama")]
    pub(super) fn mention(&self, event: Event) {
        let _ = self.0.try_send(Some(event));
    }

    /// That was all, whoever else has a way to it.
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
