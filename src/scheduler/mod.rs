//! Decides which models are loaded, and which runner serves which request.
//!
//! The state is owned by one task (`actor`); the decisions are pure (`state`, `estimate`,
//! `costs`, `placement`, `pool`, `evict`). Other code holds a [`SchedulerHandle`] or a [`Lease`].

mod actor;
mod costs;
mod estimate;
mod event;
mod evict;
mod fit;
mod lease;
mod load;
mod measured_files;
mod placement;
mod pool;
mod state;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::config::{Config, KeepAlive};
use crate::device::Snapshot;
use crate::model::{ModelName, Options};
use crate::protocol::{Adapter, LoadedInfo, ProjectorParams, Speculation, Token};
use crate::view::ModelFile;

pub use estimate::ModelDims;
pub use fit::{Choice, Fit, FitQuestion};
pub use lease::Lease;

use event::Message;
use lease::Notes;

/// The model that a request needs, and how.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// The name that `ps` shows.
    pub name: ModelName,
    /// The manifest's digest, for `ps`.
    pub digest: String,
    /// With projector and adapters, this identifies the runner.
    pub weights: ModelFile,
    /// Tokens that end an answer, besides those that llama.cpp knows.
    pub end_tokens: Vec<Token>,
    pub projector: Option<ProjectorParams>,
    pub adapters: Vec<Adapter>,
    /// The model has a pooling type.
    pub embedding: bool,
    /// Only the load options matter.
    pub options: Options,
    pub dims: ModelDims,
    /// A batch job needs it: no model that people use is unloaded for that.
    pub is_job: bool,
    /// The client of the request: in the queue, a client with many requests leaves room for others.
    pub origin: Arc<str>,
    pub draft: Option<DraftSpec>,
}

/// Places a model on machines of several kinds, for the fuzz targets; returns the cells of the pools.
#[cfg(any(test, fuzzing))]
pub fn place_everywhere(spec: &ModelSpec) -> Vec<u32> {
    placement::place_everywhere(spec)
}

/// How many tokens a draft model drafts ahead by default, as in Ollama; and the most that may be requested,
/// since hardly any draft is right so far ahead.
const N_DRAFT: u32 = 4;
const MAX_DRAFT: u32 = 64;

impl ModelSpec {
    /// How many tokens the draft model drafts ahead.
    fn n_draft(&self) -> u32 {
        let asked = self.options.draft_num_predict;
        asked.map_or(N_DRAFT, |n| n.min(MAX_DRAFT))
    }

    /// The draft model, if it is to be loaded.
    fn draft(&self, policy: &placement::Policy) -> Option<&DraftSpec> {
        let may_guess = policy.speculation != Speculation::Off && !self.embedding;
        let draft = self.draft.as_ref()?;
        (may_guess && self.n_draft() > 0).then_some(draft)
    }

    /// Whether the request needs another draft model than the loaded one, or another number of drafts. A
    /// request without a draft model can also use a runner that has one.
    fn wants_other_draft(&self, have: &Self) -> bool {
        let asked = self.options.draft_num_predict.map(|_| self.n_draft());
        self.draft.as_ref().is_some_and(|draft| {
            let is_same = have
                .draft
                .as_ref()
                .is_some_and(|have| have.weights.path == draft.weights.path);
            !is_same || asked.is_some_and(|n| n != have.n_draft())
        })
    }
}

/// A draft model, loaded together with its target model.
#[derive(Debug, Clone)]
pub struct DraftSpec {
    pub weights: ModelFile,
    pub dims: ModelDims,
}

/// Why a request got no runner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcquireError {
    /// The queue is full; `wait` is about how long until it has room.
    #[error("server busy, please try again.  maximum pending requests exceeded")]
    Overloaded { wait: Option<Duration> },
    /// The error text of a failed load, in Ollama's form.
    #[error("{0}")]
    LoadFailed(String),
    /// The model would run on the CPU, which the settings forbid.
    #[error("no GPU can be used, and DROVER_REQUIRE_GPU is set{0}")]
    NoGpu(String),
    #[error("timed out waiting for llama-server to start - {0}")]
    LoadTimeout(String),
    #[error("request canceled")]
    Canceled,
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// One entry of `ps`.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    pub name: ModelName,
    pub digest: String,
    pub info: LoadedInfo,
    /// The runner's process id.
    pub pid: u32,
    /// Requests in flight.
    pub n_active: usize,
    /// It will be unloaded when they have ended, because another model needs the room.
    pub is_going: bool,
    /// `None` = never.
    pub expires_at: Option<Timestamp>,
    /// The `num_ctx` that it was loaded for, else the cap on a request that sets none.
    pub context_length: u32,
}

/// The handle to the scheduler; cheap to clone.
#[derive(Debug, Clone)]
pub struct SchedulerHandle {
    messages: mpsc::Sender<Message>,
    notes: Notes,
    obstacle: watch::Receiver<Option<String>>,
    keep_alive: KeepAlive,
}

impl SchedulerHandle {
    /// Starts the owner task and returns its handle. `exe` is our own executable, which is started again for
    /// each runner.
    pub fn start(config: &Config, exe: PathBuf, tasks: &TaskTracker) -> Self {
        let (messages, inbox) = mpsc::channel(1024);
        let notes = Notes::default();
        let (found, obstacle) = watch::channel(None);
        let channels = actor::Channels {
            messages: messages.clone(),
            inbox,
            notes: notes.clone(),
            obstacle: found,
        };
        actor::spawn(config, exe, tasks, channels);
        Self {
            messages,
            notes,
            obstacle,
            keep_alive: config.keep_alive,
        }
    }

    /// The keep-alive of a model that no request has set one for.
    pub fn keep_alive(&self) -> KeepAlive {
        self.keep_alive
    }

    /// Why a present GPU is not used, and what helps.
    pub fn gpu_obstacle(&self) -> Option<String> {
        self.obstacle.borrow().clone()
    }

    /// Waits until the model is loaded. Dropping the future gives up the place in the queue.
    ///
    /// # Errors
    /// See [`AcquireError`].
    pub async fn acquire(
        &self,
        spec: ModelSpec,
        keep_alive: Option<KeepAlive>,
    ) -> Result<Lease, AcquireError> {
        let (reply, answer) = oneshot::channel();
        let place = self.notes.place();
        let message = Message::Acquire {
            waiter: place.id(),
            spec: Box::new(spec),
            keep_alive,
            reply,
        };
        self.messages
            .send(message)
            .await
            .map_err(|_| AcquireError::ShuttingDown)?;
        let result = answer.await.unwrap_or(Err(AcquireError::ShuttingDown));
        place.settled();
        result
    }

    /// Unloads a model as soon as it is idle; does nothing if it is not loaded.
    pub async fn unload(&self, weights: PathBuf) {
        // The channel is closed only when everything is unloaded anyway.
        let _ = self.messages.send(Message::Unload { weights }).await;
    }

    /// Looks for devices again, for a driver that came late; returns at once.
    pub async fn rediscover(&self) {
        // The channel is closed only at shutdown.
        let _ = self.messages.send(Message::Probe).await;
    }

    /// Lists what is loaded, latest expiry first.
    pub async fn loaded(&self) -> Vec<LoadedModel> {
        let (reply, answer) = oneshot::channel();
        if self.messages.send(Message::List { reply }).await.is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }

    /// The machine's memory now, and its GPUs as of the last probe.
    pub async fn machine(&self) -> Snapshot {
        let (reply, answer) = oneshot::channel();
        let message = Message::Machine { reply };
        if self.messages.send(message).await.is_err() {
            return Snapshot::default();
        }
        answer.await.unwrap_or_default()
    }

    /// Ends all runners and the owner task.
    pub async fn shutdown(&self) {
        let (reply, answer) = oneshot::channel();
        if self
            .messages
            .send(Message::Shutdown { reply })
            .await
            .is_ok()
        {
            let _ = answer.await;
        }
    }
}
