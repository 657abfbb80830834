//! Requests whose callers have gone away. This is a list, not a channel, because `Drop` can neither wait
//! nor fail. Its length is bounded by the number of requests in flight.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::protocol::RequestId;

/// Both ends of the list; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancels(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ids: Mutex<Vec<RequestId>>,
    written: Notify,
}

impl Cancels {
    /// Records that the client of this request has gone.
    pub(super) fn write(&self, id: RequestId) {
        self.lock().push(id);
        self.0.written.notify_one();
    }

    /// Waits until there are some, and takes them all.
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
