//! Requests whose callers have gone away. A list and not a channel: dropping can neither wait nor fail.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::protocol::RequestId;

/// The way to tell it, and to hear it; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancels(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ids: Mutex<Vec<RequestId>>,
    written: Notify,
}

impl Cancels {
    /// Nobody waits for this request any more.
    pub(super) fn write(&self, id: RequestId) {
        self.lock().push(id);
        self.0.written.notify_one();
    }

    /// Waits until there are some, and takes all of them.
    pub(super) async fn read(&self) -> Vec<RequestId> {
        loop {
            let ids = std::mem::take(&mut *self.lock());
            if !ids.is_empty() {
                return ids;
            }
            self.0.written.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<RequestId>> {
        self.0.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
