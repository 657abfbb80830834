//! Shares one download among all requests for a blob; it ends when the last of them leaves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::RegistryError;
use super::download::Download;
use crate::model::Digest;

/// The running downloads.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<Digest, Slot>>);

#[derive(Debug)]
struct Slot {
    flight: Weak<Flight>,
    /// Held while working on the blob's files: a cancelled download still saves its state.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A waiter's handle to a download.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) completed: watch::Receiver<u64>,
    /// `None` = still running.
    pub(super) end: watch::Receiver<Option<Result<(), RegistryError>>>,
    _cancel: DropGuard,
}

impl Flights {
    /// Joins the download of a blob, or starts it.
    pub(super) fn join(&self, download: Download, tasks: &TaskTracker) -> Arc<Flight> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| slot.flight.strong_count() > 0 || Arc::strong_count(&slot.turn) > 1);
        let slot = slots.entry(download.digest).or_insert_with(|| Slot {
            flight: Weak::new(),
            turn: Arc::default(),
        });
        let running = slot.flight.upgrade();
        // After an error, the next caller starts a new download.
        if let Some(flight) = running.filter(|flight| flight.end.borrow().is_none()) {
            return flight;
        }
        let flight = start(download, Arc::clone(&slot.turn), tasks);
        slot.flight = Arc::downgrade(&flight);
        flight
    }
}

fn start(
    download: Download,
    turn: Arc<tokio::sync::Mutex<()>>,
    tasks: &TaskTracker,
) -> Arc<Flight> {
    let (completed, completed_seen) = watch::channel(0);
    let (end, end_seen) = watch::channel(None);
    let cancel = CancellationToken::new();
    let guard = cancel.clone().drop_guard();
    tasks.spawn(async move {
        let _turn = turn.lock_owned().await;
        let result = download.run(&completed, &cancel).await;
        if let Err(error) = &result {
            tracing::info!(digest = %download.digest, %error, "a download has stopped");
        }
        end.send_replace(Some(result));
    });
    Arc::new(Flight {
        completed: completed_seen,
        end: end_seen,
        _cancel: guard,
    })
}
