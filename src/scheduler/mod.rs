//! Which models are loaded, and which runner serves which request.
//!
//! The state is owned by one task (`actor`); the decisions are pure (`state`, `estimate`,
//! `evict`). Everybody else holds a [`SchedulerHandle`] or a [`Lease`].

// STUB (owner: scheduler/runner helper): state.rs, event.rs, actor.rs, estimate.rs, evict.rs, lease.rs.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Config, KeepAlive};
use crate::model::{ModelName, Options};
use crate::protocol::{Adapter, KvCacheType, LoadedInfo};
use crate::runner::RunnerHandle;

/// What a request needs loaded.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// The name that `ps` shows.
    pub name: ModelName,
    /// The manifest's digest, for `ps`.
    pub digest: String,
    /// Identity of the runner together with projectors and adapters.
    pub weights: PathBuf,
    pub projectors: Vec<PathBuf>,
    pub adapters: Vec<Adapter>,
    /// The model has a pooling type.
    pub embedding: bool,
    /// Only the load options are looked at.
    pub options: Options,
    pub dims: ModelDims,
}

/// What the memory estimate needs, from the GGUF header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelDims {
    pub architecture: String,
    /// Weights (and projectors) in bytes.
    pub file_bytes: u64,
    pub n_layer: u32,
    /// KV heads of each layer (one entry = the same for all).
    pub n_head_kv: Vec<u32>,
    pub head_dim_k: u32,
    pub head_dim_v: u32,
    pub n_embd: u32,
    pub n_vocab: u32,
    /// Trained context length; 0 = unknown.
    pub n_ctx_train: u32,
    /// Sliding window in tokens; 0 = none.
    pub sliding_window: u32,
}

/// Why no runner could be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AcquireError {
    #[error("server busy, please try again.  maximum pending requests exceeded")]
    Overloaded,
    /// Ollama-shaped text of a failed load.
    #[error("{0}")]
    LoadFailed(String),
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
    /// Requests in flight.
    pub n_active: usize,
    /// `None` = never.
    pub expires_at: Option<Timestamp>,
    /// The cap on a request that sets no `num_ctx`.
    pub context_length: u32,
}

/// The way in; cheap to clone.
#[derive(Debug, Clone)]
pub struct SchedulerHandle {
    _inner: Arc<()>,
}

/// The right to use a loaded runner; while it lives the model stays loaded.
#[derive(Debug)]
pub struct Lease {
    _private: (),
}

impl Lease {
    pub fn runner(&self) -> &RunnerHandle {
        todo!()
    }

    pub fn info(&self) -> &LoadedInfo {
        self.runner().info()
    }

    /// The context of a request in tokens: its own `num_ctx` as a cap, else the default cap,
    /// at most the pool and the trained length.
    pub fn n_ctx(&self, _requested: Option<u32>) -> u32 {
        todo!()
    }
}

impl SchedulerHandle {
    /// Starts the owner task and returns the way in.
    pub fn start(_config: &Config, _tasks: &tokio_util::task::TaskTracker) -> Self {
        let _ = KvCacheType::F16;
        todo!()
    }

    /// Waits until the model is loaded. Dropping the future gives up the place.
    ///
    /// # Errors
    /// See [`AcquireError`].
    pub async fn acquire(
        &self,
        _spec: ModelSpec,
        _keep_alive: Option<KeepAlive>,
    ) -> Result<Lease, AcquireError> {
        todo!()
    }

    /// Unloads a model as soon as it is idle; does nothing when it is not loaded.
    pub async fn unload(&self, _weights: PathBuf) {
        todo!()
    }

    /// Lists what is loaded, latest expiry first.
    pub async fn loaded(&self) -> Vec<LoadedModel> {
        todo!()
    }

    /// Ends all runners and the owner task.
    pub async fn shutdown(&self) {
        todo!()
    }
}
