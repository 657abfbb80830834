//! What every handler gets. Built once; the parts are owned elsewhere.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::extract::Memory;
use super::gate::Gates;
use crate::config::Config;
use crate::inference::Inference;
use crate::registry::Registry;
use crate::scheduler::SchedulerHandle;
use crate::store::Store;

/// The handlers' shared state; one count is all that a request clones.
pub(crate) type App = Arc<AppState>;

/// The parts of the daemon that requests reach.
#[derive(Debug)]
pub(crate) struct AppState {
    pub(crate) inference: Inference,
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) scheduler: SchedulerHandle,
    pub(crate) config: Arc<Config>,
    /// Our own executable, for child processes.
    pub(crate) exe: PathBuf,
    pub(crate) gates: Gates,
    /// Of all requests in flight.
    pub(crate) memory: Memory,
    /// Owner of every task and blocking job that a handler starts.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the daemon stops and the grace is over: what still runs ends with an error.
    pub(crate) cut_off: CancellationToken,
}

impl AppState {
    /// Runs what would block on the pool for that, under the request's span.
    pub(crate) fn block<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let span = tracing::Span::current();
        self.tasks.spawn_blocking(move || span.in_scope(job))
    }
}
