//! What a request waits for, for clients that want to know.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::protocol::RequestId;
use crate::runner_client::RunnerHandle;

/// The stage of a request; shared between the code that serves it and the code that reports it to the client.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Mutex<Stage>>);

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Begun,
    /// It waits until its model is loaded.
    Loading,
    /// Its prompt was accepted.
    Queued(RunnerHandle, RequestId),
    /// There is output, or nothing more to wait for.
    Answered,
}

/// A request's place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Its model is being loaded, or waits for memory.
    Loading,
    /// How many requests are ahead of it, and about how long they take.
    Queued(u32, Option<Duration>),
}

/// How long a busy runner may take to answer: on a CPU a step takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(1);

impl Waiting {
    /// Asks for the place; `None` = it does not wait.
    pub async fn place(&self) -> Option<Place> {
        let (runner, id) = match &*self.lock() {
            Stage::Begun | Stage::Answered => return None,
            Stage::Loading => return Some(Place::Loading),
            Stage::Queued(runner, id) => (runner.clone(), *id),
        };
        let asked = tokio::time::timeout(PATIENCE, runner.place(id)).await;
        let n_before = asked.ok()?.ok()??;
        Some(Place::Queued(n_before, runner.expected_wait(n_before)))
    }

    /// Whether there is output, or nothing more to wait for.
    pub fn is_over(&self) -> bool {
        matches!(*self.lock(), Stage::Answered)
    }

    pub(super) fn loading(&self) {
        self.set(Stage::Loading);
    }

    pub(super) fn loaded(&self) {
        self.set(Stage::Begun);
    }

    pub(super) fn queued(&self, runner: RunnerHandle, id: RequestId) {
        self.set(Stage::Queued(runner, id));
    }

    pub(super) fn answered(&self) {
        self.set(Stage::Answered);
    }

    /// With several choices, the first one that has output counts.
    fn set(&self, stage: Stage) {
        let mut now = self.lock();
        if !matches!(*now, Stage::Answered) {
            *now = stage;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
