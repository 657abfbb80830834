//! Converts plans to the runner's parameters, and its results to the texts that clients read. Pure.

use jiff::Timestamp;
use tokio::time::Instant;

use super::event::LoadFailure;
use super::fit::Fit;
use super::placement::{LoadPlan, Policy};
use super::state::{Entry, Foreseen};
use super::{AcquireError, ModelSpec};
use crate::config::KeepAlive;
use crate::device::Snapshot;
use crate::protocol::{DraftParams, HOST, LoadParams, LoadedInfo, MemoryUse};
use crate::runner_client::StartError;

/// The cap on a request without `num_ctx`: the setting, else the whole pool.
pub(super) fn default_ctx(context_length: u32, info: &LoadedInfo) -> u32 {
    let unlimited = |value: u32| if value == 0 { u32::MAX } else { value };
    unlimited(context_length)
        .min(info.n_ctx_pool)
        .min(unlimited(info.n_ctx_train))
}

/// The runner's parameters for loading a model as planned.
pub(super) fn params(spec: &ModelSpec, plan: &LoadPlan, policy: &Policy) -> LoadParams {
    let options = &spec.options;
    LoadParams {
        model: spec.weights.clone(),
        end_tokens: spec.end_tokens.clone(),
        projector: spec.projector.clone(),
        adapters: spec.adapters.clone(),
        n_ctx_pool: plan.shape.n_ctx_pool,
        n_slots: plan.shape.n_slots,
        n_batch: plan.shape.n_batch,
        n_ubatch: plan.shape.n_ubatch,
        n_gpu_layers: plan.n_gpu_layers,
        gpus: plan.gpus(),
        n_cpu_moe: plan.n_cpu_moe,
        use_mmap: options.use_mmap,
        n_threads: options.num_thread,
        kv_cache_type: policy.kv_cache_type,
        flash_attention: policy.flash_attention,
        embedding: spec.embedding,
        speculation: policy.speculation,
        draft: spec.draft(policy).map(|draft| DraftParams {
            model: draft.weights.clone(),
            n_predict: spec.n_draft(),
        }),
        whole_window: false,
        spill: policy.spill.clone(),
    }
}

/// The answer to a fit question; `exact` is the memory as llama.cpp counts it.
pub(super) fn fit(
    spec: &ModelSpec,
    policy: &Policy,
    (foreseen, snapshot): (Foreseen, Snapshot),
    exact: Option<MemoryUse>,
) -> Fit {
    let plan = &foreseen.plan;
    let n_layer = u32::try_from(spec.dims.n_head_kv.len()).unwrap_or(u32::MAX);
    Fit {
        shape: plan.shape,
        n_ctx_most: plan.n_ctx_most,
        n_layer,
        n_gpu_layers: u32::try_from(plan.n_gpu_layers).unwrap_or(n_layer),
        n_cpu_moe: plan.n_cpu_moe,
        kv_cache_type: policy.kv_cache_type,
        is_measured: exact.is_some(),
        memory: exact.unwrap_or_else(|| estimated(plan)),
        gpus: snapshot.gpus,
        system_total_bytes: snapshot.system_total_bytes,
        system_available_bytes: snapshot.system_available_bytes,
        choices: foreseen.choices,
        evicted: foreseen.evicted,
        is_loaded: foreseen.is_loaded,
    }
}

/// The memory of a plan, in which weights and caches are not distinguished.
fn estimated(plan: &LoadPlan) -> MemoryUse {
    let mut memory = MemoryUse::default();
    for card in &plan.cards {
        memory.on(&card.name).weights = card.bytes;
    }
    memory.on(HOST).weights = plan.system_bytes;
    memory
}

/// When a model will be unloaded: for a busy one, counted from now.
pub(super) fn expires_at(entry: &Entry, now: Instant, clock: Timestamp) -> Option<Timestamp> {
    let KeepAlive::For(time) = entry.keep_alive else {
        return None;
    };
    let left = entry
        .deadline
        .map_or(time, |deadline| deadline.saturating_duration_since(now));
    clock.checked_add(left).ok()
}

/// Classifies a failed load, with the text that clients read.
pub(super) fn failure(model: &str, error: &StartError) -> LoadFailure {
    let text = error.to_string();
    LoadFailure {
        error: match error {
            StartError::Refused(reason) => AcquireError::LoadFailed(format!(
                "{reason}: this model may be incompatible with your version of Ollama. If you previously pulled this model, try updating it by running `ollama pull {model}`"
            )),
            StartError::Timeout(last) => AcquireError::LoadTimeout(last.clone()),
            StartError::Died { .. } | StartError::Spawn(_) => {
                AcquireError::LoadFailed(text.clone())
            }
        },
        crashed: matches!(error, StartError::Died { .. }),
        short_of_memory: is_short_of_memory(error, &text),
    }
}

/// llama.cpp has no error code for this, only messages; the kernel kills a process with signal 9.
fn is_short_of_memory(error: &StartError, text: &str) -> bool {
    const WORDS: [&str; 6] = [
        "out of memory",
        "failed to allocate",
        "unable to allocate",
        "cannot allocate",
        "alloc_buffer",
        // A tensor of the cache is larger than the device's largest buffer.
        "cannot run the operation",
    ];
    let text = text.to_lowercase();
    match error {
        StartError::Spawn(_) | StartError::Timeout(_) => false,
        StartError::Died { exit, .. } if exit.starts_with("signal: 9") => true,
        StartError::Refused(_) | StartError::Died { .. } => {
            WORDS.iter().any(|word| text.contains(word))
        }
    }
}
