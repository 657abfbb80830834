//! Where a model would go, without loading it.

use tokio::sync::oneshot;

use super::event::Message;
use super::placement::Policy;
use super::{ModelSpec, SchedulerHandle};
use crate::protocol::{DeviceInfo, KvCacheType, MemoryUse, PoolShape};

/// The model to place, and settings that replace the server's.
#[derive(Debug, Clone)]
pub struct FitQuestion {
    pub spec: ModelSpec,
    pub n_slots: Option<u32>,
    pub kv_cache_type: Option<KvCacheType>,
}

impl FitQuestion {
    /// The server's settings, overridden by those of the question.
    pub(super) fn policy(&self, policy: &Policy) -> Policy {
        let mut policy = policy.clone();
        policy.num_parallel = self.n_slots.unwrap_or(policy.num_parallel);
        policy.kv_cache_type = self.kv_cache_type.unwrap_or(policy.kv_cache_type);
        policy
    }
}

/// Where a model would go.
#[derive(Debug, Clone)]
pub struct Fit {
    pub shape: PoolShape,
    /// The largest pool that would fit, in cells.
    pub n_ctx_most: u32,
    pub n_layer: u32,
    /// Layers on GPUs; all of them if the whole model is there.
    pub n_gpu_layers: u32,
    /// Layers whose experts stay on the CPU.
    pub n_cpu_moe: u32,
    pub kv_cache_type: KvCacheType,
    /// How much of each memory it would take with that shape: as llama.cpp counts it, or else estimated.
    pub memory: MemoryUse,
    pub is_measured: bool,
    /// The GPUs of the machine, as they are now.
    pub gpus: Vec<DeviceInfo>,
    pub system_total_bytes: u64,
    pub system_available_bytes: u64,
    pub choices: Vec<Choice>,
    /// The names of loaded models that would be unloaded.
    pub evicted: Vec<String>,
    pub is_loaded: bool,
}

/// What is possible with another number of slots if nothing else were loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub n_slots: u32,
    /// The largest pool, in cells.
    pub n_ctx_most: u32,
    /// All of the model is on GPUs.
    pub is_whole: bool,
}

impl SchedulerHandle {
    /// Says where a model would go. `None` when the server shuts down.
    pub async fn fit(&self, question: FitQuestion) -> Option<Fit> {
        let (reply, answer) = oneshot::channel();
        let question = Box::new(question);
        let message = Message::Fit { question, reply };
        self.messages.send(message).await.ok()?;
        answer.await.ok()
    }
}
