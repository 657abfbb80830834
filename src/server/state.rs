//! The state that every handler shares. Built once; the parts are owned elsewhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::audit::Audit;
use super::extract::Memory;
use super::gate::Gates;
use super::openai::Responses;
use super::tls::Tls;
use crate::config::Config;
use crate::inference::Inference;
use crate::jobs::Jobs;
use crate::keys::Keys;
use crate::registry::Registry;
use crate::scheduler::SchedulerHandle;
use crate::store::Store;

/// The handlers' shared state; cloning it increments one counter.
pub(crate) type App = Arc<AppState>;

/// The parts of the daemon that requests reach.
#[derive(Debug)]
pub(crate) struct AppState {
    pub(crate) inference: Inference,
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) scheduler: SchedulerHandle,
    pub(crate) jobs: Jobs,
    pub(crate) config: Arc<Config>,
    /// Our own executable, for child processes.
    pub(crate) exe: PathBuf,
    /// When the daemon started.
    pub(crate) started: Instant,
    pub(crate) gates: Gates,
    pub(crate) keys: Keys,
    pub(crate) audit: Audit,
    /// `None` = plain HTTP.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Stored responses, and those that run in the background.
    pub(crate) responses: Responses,
    /// The memory of all requests in flight.
    pub(crate) memory: Memory,
    /// Owner of every task and blocking job that a handler starts.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the daemon begins to stop: `/ready` says so.
    pub(crate) draining: CancellationToken,
    /// Cancelled when the daemon stops and the grace period is over: requests that are still running end with an error.
    pub(crate) cut_off: CancellationToken,
}

impl AppState {
    /// Runs blocking work on the blocking pool, in the request's span.
    pub(crate) fn block<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let span = tracing::Span::current();
        self.tasks.spawn_blocking(move || span.in_scope(job))
    }
}
