//! `/api/fit`.

use serde_json::Value;

use crate::api::ollama as api;
use crate::config::values::word;
use crate::error::{ErrorKind, RequestError};
use crate::inference::{FitRequest, RequestOptions};
use crate::model::OptionPatch;
use crate::protocol::{DeviceMemory, HOST, KvCacheType};
use crate::scheduler::Fit;

/// An upper limit, more than any hardware can serve.
const MOST_SLOTS: u32 = 1024;

/// Makes the request.
///
/// # Errors
/// Names the invalid value.
pub fn fit_request(request: api::FitRequest) -> Result<FitRequest, RequestError> {
    let invalid = |text: String| Err(RequestError::new(ErrorKind::Invalid, text));
    let kind = |text: String| word::<KvCacheType>(&text).ok_or(text);
    let kv_cache_type = match request.kv_cache_type.map(kind).transpose() {
        Ok(kind) => kind,
        Err(text) => {
            return invalid(format!(
                "kv_cache_type {text:?} is none of f16, bf16, f32, q8_0, q5_1, q5_0, q4_1, q4_0"
            ));
        }
    };
    if request
        .slots
        .is_some_and(|n| !(1..=MOST_SLOTS).contains(&n))
    {
        return invalid(format!("slots must be between 1 and {MOST_SLOTS}"));
    }
    let options = OptionPatch {
        num_ctx: request.num_ctx,
        ..OptionPatch::default()
    };
    Ok(FitRequest {
        common: RequestOptions {
            model: request.model,
            options,
            ..RequestOptions::default()
        },
        n_slots: request.slots,
        kv_cache_type,
    })
}

/// Makes the response.
pub fn fit_response(model: &str, fit: &Fit) -> api::FitResponse {
    let kind = serde_json::to_value(fit.kv_cache_type).ok();
    let kind = kind.as_ref().and_then(Value::as_str);
    let choices = fit.choices.iter().map(|choice| api::FitChoice {
        slots: choice.n_slots,
        context_length: choice.n_ctx_most,
        whole_on_gpu: choice.is_whole,
    });
    api::FitResponse {
        model: model.to_owned(),
        context_length: fit.shape.n_ctx_pool,
        context_most: fit.n_ctx_most,
        slots: fit.shape.n_slots,
        kv_cache_type: kind.unwrap_or_default().to_owned(),
        batch: fit.shape.n_batch,
        ubatch: fit.shape.n_ubatch,
        layers: fit.n_layer,
        gpu_layers: fit.n_gpu_layers,
        cpu_expert_layers: fit.n_cpu_moe,
        measured: fit.is_measured,
        loaded: fit.is_loaded,
        devices: devices(fit),
        choices: choices.collect(),
        evicts: fit.evicted.clone(),
    }
}

/// The GPUs, used or not, and the system's memory.
fn devices(fit: &Fit) -> Vec<api::FitDevice> {
    let usage = |name: &str| {
        usage(&fit.memory.get(name).cloned().unwrap_or(DeviceMemory {
            device: name.to_owned(),
            ..DeviceMemory::default()
        }))
    };
    let gpus = fit.gpus.iter().map(|gpu| api::FitDevice {
        usage: usage(&gpu.name),
        description: gpu.description.clone(),
        total: gpu.total_bytes,
        free: gpu.free_bytes,
    });
    let host = api::FitDevice {
        usage: usage(HOST),
        description: String::new(),
        total: fit.system_total_bytes,
        free: fit.system_available_bytes,
    };
    gpus.chain([host]).collect()
}

/// Makes the entry of one device.
pub(super) fn usage(memory: &DeviceMemory) -> api::DeviceUse {
    api::DeviceUse {
        name: memory.device.clone(),
        weights: memory.weights,
        kv: memory.kv,
        compute: memory.compute,
        projector: memory.projector,
        draft: memory.draft,
        size: memory.total(),
    }
}
