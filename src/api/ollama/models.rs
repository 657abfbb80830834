//! `/api/tags`, `/api/ps`, `/api/show`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{DeviceUse, FitResponse};
use crate::api::drover::BatchState;
use crate::chat::null_is_default;
use crate::metrics::GpuState;

/// Answer of `GET /api/tags`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ListResponse {
    pub models: Vec<ListedModel>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ListedModel {
    pub name: String,
    pub model: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_model: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_host: String,
    pub modified_at: String,
    pub size: u64,
    pub digest: String,
    pub details: ModelDetails,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ModelDetails {
    pub parent_model: String,
    pub format: String,
    pub family: String,
    pub families: Option<Vec<String>>,
    pub parameter_size: String,
    pub quantization_level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_length: Option<u64>,
}

/// Answer of `GET /api/ps`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ProcessResponse {
    pub models: Vec<ProcessModel>,
    /// Not in Ollama: why a present graphics card is not used, and what helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_problem: Option<String>,
    /// Not in Ollama: NVIDIA's cards, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuState>,
    /// Not in Ollama: the batch jobs of the key that have not ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<BatchState>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ProcessModel {
    pub name: String,
    pub model: String,
    pub size: u64,
    pub digest: String,
    pub details: ModelDetails,
    pub expires_at: String,
    pub size_vram: u64,
    pub context_length: u64,
    /// Not in Ollama: how many sequences may run at once.
    pub slots: u32,
    /// Not in Ollama: requests in flight.
    pub slots_busy: u32,
    /// Not in Ollama: how much memory the model takes on each device.
    pub memory: Vec<DeviceUse>,
}

/// Body of `POST /api/show`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ShowRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// Deprecated alias of `model`.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    #[serde(deserialize_with = "null_is_default")]
    pub verbose: bool,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub system: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub options: Map<String, Value>,
    /// An extension: also say where the model would be placed.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub fit: bool,
}

/// The key-value pairs of a file's header.
pub trait ModelInfo: Serialize {
    fn is_empty(&self) -> bool;
}

impl ModelInfo for Map<String, Value> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// Answer of `POST /api/show`. The daemon encodes headers directly, without converting them to JSON values first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(
    default,
    bound(
        serialize = "I: ModelInfo",
        deserialize = "I: ModelInfo + Default + Deserialize<'de>"
    )
)]
#[schema(bound = "I: ModelInfo + Default")]
pub struct ShowResponse<I = Map<String, Value>> {
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(default)]
    pub license: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(default)]
    pub modelfile: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(default)]
    pub parameters: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(default)]
    pub template: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(default)]
    pub system: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(default)]
    pub renderer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(default)]
    pub parser: String,
    #[schema(default)]
    pub details: ModelDetails,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(default)]
    pub messages: Vec<crate::chat::Message>,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(default)]
    pub remote_model: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(default)]
    pub remote_host: String,
    #[schema(value_type = Map<String, Value>, default)]
    pub model_info: I,
    #[serde(skip_serializing_if = "ModelInfo::is_empty")]
    #[schema(value_type = Map<String, Value>, default)]
    pub projector_info: I,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(default)]
    pub tensors: Vec<Tensor>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(default)]
    pub capabilities: Vec<String>,
    /// For models that think; since Ollama 0.35.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default)]
    pub thinking: Option<ThinkingInfo>,
    #[schema(default)]
    pub modified_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(default)]
    pub requires: String,
    /// Where the model would be placed, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default)]
    pub fit: Option<FitResponse>,
}

/// The values of `think` that a model accepts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ThinkingInfo {
    pub values: Vec<Value>,
    pub default: Value,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Tensor {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub shape: Vec<u64>,
}
