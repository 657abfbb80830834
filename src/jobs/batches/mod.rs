//! Batch jobs: many requests in a file, answered one by one, their results in another file.
//!
//! ```text
//! input file ──validate──▶ rows of lines ──order──▶ answer ──results──▶ output and error file
//! ```
//!
//! *Invariant:* in the end, each line of a valid input is in exactly one of the two result files, however often the
//! daemon was killed. At worst it is computed twice.

mod batch;
mod check;
mod line;
mod lines;
mod messages;
mod order;
mod results;
mod runner;
mod store;
#[cfg(test)]
mod tests;
mod validate;

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::JobsError;
use crate::config::Hours;
use crate::keys::{Owner, Seen};

pub use batch::{
    Batch, BatchPage, Counts, Fault, Metadata, NewBatch, Origin, Status, Times, Usage,
};
pub use check::ENDPOINTS;
pub use messages::{MESSAGES, MessageLines, message_lines, message_result};

use batch::Event;
use runner::Runner;
use store::{Most, Terms};

pub(super) use store::Store;

/// The most jobs and requests that may wait.
const MOST: Most = Most {
    jobs: 1000,
    lines: 2_000_000,
};

/// A future of a trait's method.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How requests are answered.
pub trait Answer: Send + Sync + 'static {
    /// Answers a request as its route would, behind interactive requests.
    fn answer(&self, request: Request) -> Later<Answered>;

    /// Whether requests of this client are still answered: its API key may have been revoked or have expired.
    fn is_allowed(&self, client: &str) -> bool;

    /// Whether the model exists.
    fn has_model(&self, model: &str) -> Later<bool>;

    /// How many requests the model can serve at once; `None` = it is not loaded, 0 = it must make room for other
    /// models.
    fn places(&self, model: &str) -> Later<Option<usize>>;
}

/// A request of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The path of its route.
    pub url: String,
    pub body: Bytes,
    /// For fair scheduling, and for the limits of its key.
    pub client: String,
    /// The owner whose stored responses and conversations it may refer to.
    pub owner: Owner,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub request_id: String,
    pub body: Bytes,
}

/// Settings of jobs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many seconds a job may take.
    pub window: i64,
    /// When jobs run; `None` = always.
    pub hours: Option<Hours>,
}

/// The jobs; cheap to clone.
#[derive(Debug, Clone)]
pub struct Batches {
    store: Store,
    settings: Settings,
    wake: Arc<Notify>,
    stop: CancellationToken,
    paused: Arc<Mutex<Option<String>>>,
    is_started: Arc<OnceLock<()>>,
}

/// What the runner's tasks share.
struct Shared {
    store: Store,
    settings: Settings,
    answer: Arc<dyn Answer>,
    tasks: TaskTracker,
    wake: Arc<Notify>,
    stop: CancellationToken,
    paused: Arc<Mutex<Option<String>>>,
}

impl Shared {
    /// Records why jobs are paused; returns whether that is new.
    fn pause(&self, reason: Option<&str>) -> bool {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = paused.as_deref() != reason;
        if is_new {
            *paused = reason.map(str::to_owned);
        }
        is_new
    }
}

impl Batches {
    pub(super) fn new(store: Store, settings: Settings) -> Self {
        Self {
            store,
            settings,
            wake: Arc::default(),
            stop: CancellationToken::new(),
            paused: Arc::default(),
            is_started: Arc::default(),
        }
    }

    /// Starts running the jobs, once; unfinished jobs continue.
    pub fn start(&self, answer: Arc<dyn Answer>, tasks: &TaskTracker) {
        if self.is_started.set(()).is_err() {
            return;
        }
        let shared = Shared {
            store: self.store.clone(),
            settings: self.settings.clone(),
            answer,
            tasks: tasks.clone(),
            wake: Arc::clone(&self.wake),
            stop: self.stop.clone(),
            paused: Arc::clone(&self.paused),
        };
        tasks.spawn(Runner::new(Arc::new(shared)).run());
    }

    /// Stops starting requests, and aborts running ones, which will be computed again.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Why jobs are paused.
    pub fn paused(&self) -> Option<String> {
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        paused.clone()
    }

    /// Creates a job over a visible input file.
    ///
    /// # Errors
    /// Too many jobs or requests are waiting already, or the disk fails.
    pub async fn create(
        &self,
        new: NewBatch,
        seen: &Seen,
        now: Timestamp,
    ) -> Result<Batch, JobsError> {
        // Before there is a row: whoever hangs up meanwhile leaves no job over a file that is not theirs.
        let is_missing = self.missing_input(&new, seen, now).await?;
        let faults = is_missing.then(|| vec![validate::no_file(&new.input_file)]);
        let terms = Terms {
            window: self.settings.window,
            most: MOST,
        };
        let batch = self.store.insert(new, faults, terms, now).await?;
        self.wake.notify_one();
        Ok(batch)
    }

    /// Whether the input is missing or not a file for jobs. Inputs of Anthropic's jobs have no row.
    async fn missing_input(
        &self,
        new: &NewBatch,
        seen: &Seen,
        now: Timestamp,
    ) -> Result<bool, JobsError> {
        if new.origin == Origin::Anthropic {
            return Ok(false);
        }
        match self.store.files.get(&new.input_file, seen, now).await {
            Ok(file) => Ok(file.purpose != "batch"),
            Err(JobsError::UnknownFile(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Finds a job that was created through this API.
    ///
    /// # Errors
    /// [`JobsError::UnknownBatch`], also for a job that is not visible; or an error of the database.
    pub async fn get(&self, id: &str, origin: Origin, seen: &Seen) -> Result<Batch, JobsError> {
        self.store.get(id, origin, seen).await
    }

    /// Lists jobs of an API, newest first, and whether there are more; with `before`, the jobs that are newer than that
    /// one.
    ///
    /// # Errors
    /// [`JobsError::UnknownBatch`] if the job to start from is not visible.
    pub async fn list(
        &self,
        origin: Origin,
        seen: &Seen,
        page: BatchPage,
    ) -> Result<(Vec<Batch>, bool), JobsError> {
        self.store.list(origin, seen, page).await
    }

    /// The jobs that have not ended, of both APIs and all owners, oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn active(&self) -> Result<Vec<Batch>, JobsError> {
        if !self.store.exists() {
            return Ok(Vec::new());
        }
        self.store.active().await
    }

    /// Cancels a job; existing results stay.
    ///
    /// # Errors
    /// The job is unknown or has ended.
    pub async fn cancel(
        &self,
        id: &str,
        origin: Origin,
        seen: &Seen,
        now: Timestamp,
    ) -> Result<Batch, JobsError> {
        self.store.get(id, origin, seen).await?;
        let batch = self.store.change(id, Event::Cancel, now).await?;
        self.wake.notify_one();
        Ok(batch)
    }

    /// Deletes a job that has ended, with its results.
    ///
    /// # Errors
    /// The job is unknown or has not ended.
    pub async fn delete(&self, id: &str, origin: Origin, seen: &Seen) -> Result<(), JobsError> {
        self.store.delete(id, origin, seen).await
    }
}
