//! Where a model would go, without loading it.

use tokio::sync::oneshot;

use super::event::Message;
use super::placement::Policy;
use super::{ModelSpec, SchedulerHandle};
use crate::protocol::{DeviceInfo, KvCacheType, MemoryUse, PoolShape};

/// What is to be placed, and with which settings in place of the server's.
#[derive(Debug, Clone)]
pub struct FitQuestion {
    pub spec: ModelSpec,
    pub n_slots: Option<u32>,
    pub kv_cache_type: Option<KvCacheType>,
}

impl FitQuestion {
    /// The server's settings with those of the question.
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
    /// The largest pool that there would be room for, in cells.
    pub n_ctx_most: u32,
    pub n_layer: u32,
    /// Layers on GPUs; all of them where the model is there as a whole.
    pub n_gpu_layers: u32,
    /// Layers whose experts stay on the CPU.
    pub n_cpu_moe: u32,
    pub kv_cache_type: KvCacheType,
    /// What it would take of each memory in that shape; by llama.cpp's own count, or else estimated.
    pub memory: MemoryUse,
    pub is_measured: bool,
    /// The GPUs of the machine, as they are now.
    pub gpus: Vec<DeviceInfo>,
    pub system_total_bytes: u64,
    pub system_available_bytes: u64,
    pub choices: Vec<Choice>,
    /// Loaded models that would have to go, by their names.
    pub evicted: Vec<String>,
    pub is_loaded: bool,
}

/// What is possible with another number of slots, if nothing else were loaded.
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
