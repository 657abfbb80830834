//! `/api/fit`, which Ollama does not have: where a model would be placed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A model, and settings that replace the server's.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FitRequest {
    pub model: String,
    /// The context of a request in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_ctx: Option<u32>,
    /// Concurrent requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// `f16`, `q8_0`, `q4_0`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_cache_type: Option<String>,
}

/// Where the model would be placed. Sizes are bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FitResponse {
    pub model: String,
    /// Cells of the KV cache, which all slots share.
    pub context_length: u32,
    /// The largest cache that would fit.
    pub context_most: u32,
    pub slots: u32,
    pub kv_cache_type: String,
    pub batch: u32,
    pub ubatch: u32,
    pub layers: u32,
    pub gpu_layers: u32,
    /// Layers whose experts stay on the CPU.
    pub cpu_expert_layers: u32,
    /// Whether the sizes are llama.cpp's own count; otherwise they are estimated.
    pub measured: bool,
    pub loaded: bool,
    /// The GPUs, then the system's memory.
    pub devices: Vec<FitDevice>,
    pub choices: Vec<FitChoice>,
    /// Loaded models that would have to be unloaded.
    pub evicts: Vec<String>,
}

/// What the model would take of one device's memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FitDevice {
    #[serde(flatten)]
    pub usage: DeviceUse,
    pub description: String,
    pub total: u64,
    pub free: u64,
}

/// What a model takes of a device's memory, or of the system's (`CPU`), in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DeviceUse {
    pub name: String,
    pub weights: u64,
    pub kv: u64,
    pub compute: u64,
    pub projector: u64,
    pub draft: u64,
    /// The sum of these.
    pub size: u64,
}

/// The context that fits with another number of slots, if nothing else were loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FitChoice {
    pub slots: u32,
    pub context_length: u32,
    /// Whether the whole model is on GPUs.
    pub whole_on_gpu: bool,
}
