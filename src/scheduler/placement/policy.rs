//! The settings for loading.

use crate::config::Config;
use crate::device;
use crate::protocol::{KvCacheType, Speculation, SpillFiles, SpillParams};

/// The part of the machine's memory (one in this many) that a model may use for prompts that lost their cells
/// in the KV cache, and the limit in bytes.
const SPILL_SHARE: u64 = 16;
const SPILL_MOST: u64 = 4 << 30;

/// The settings that matter for loading.
#[derive(Debug, Clone)]
pub(in crate::scheduler) struct Policy {
    pub(in crate::scheduler) num_parallel: u32,
    pub(in crate::scheduler) context_length: u32,
    pub(in crate::scheduler) kv_cache_type: KvCacheType,
    /// Bytes of each GPU that no model may use.
    pub(in crate::scheduler) gpu_overhead: u64,
    /// A model is spread over all GPUs of a kind, even if fewer would do.
    pub(in crate::scheduler) spread: bool,
    /// No model runs on the CPU unless the request asks for that.
    pub(in crate::scheduler) requires_gpu: bool,
    pub(in crate::scheduler) flash_attention: Option<bool>,
    pub(in crate::scheduler) speculation: Speculation,
    pub(in crate::scheduler) spill: SpillParams,
    /// Models may be measured before they are loaded.
    pub(in crate::scheduler) measures: bool,
}

impl Policy {
    pub(in crate::scheduler) fn new(config: &Config) -> Self {
        Self {
            num_parallel: config.num_parallel,
            context_length: config.context_length,
            kv_cache_type: config.kv_cache_type,
            gpu_overhead: config.gpu_overhead,
            spread: config.sched_spread,
            requires_gpu: config.require_gpu,
            flash_attention: config.flash_attention,
            speculation: config.speculation,
            spill: spill(config),
            measures: true,
        }
    }

    /// The default settings.
    #[cfg(any(test, fuzzing))]
    pub(in crate::scheduler) fn plain() -> Self {
        Self {
            num_parallel: 0,
            context_length: 0,
            kv_cache_type: KvCacheType::F16,
            gpu_overhead: 0,
            spread: false,
            requires_gpu: false,
            flash_attention: None,
            speculation: Speculation::Auto,
            spill: SpillParams::default(),
            measures: false,
        }
    }
}

/// What models may save outside their KV caches.
fn spill(config: &Config) -> SpillParams {
    let files = SpillFiles {
        folder: config.state_dir.join("prompts"),
        limit_bytes: config.spill_disk,
    };
    SpillParams {
        memory_bytes: config.spill_memory.unwrap_or_else(spill_memory),
        files: (files.limit_bytes > 0).then_some(files),
    }
}

/// The default memory for that.
fn spill_memory() -> u64 {
    (device::system_memory().0 / SPILL_SHARE).min(SPILL_MOST)
}
