//! `GET /api/drover/events`: what the daemon is doing, once a second.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The state at one moment. Later versions may add fields, but remove none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DaemonState {
    pub version: String,
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Seconds since the daemon started.
    pub uptime: f64,
    pub devices: Vec<Device>,
    /// Models that are loaded, or that requests wait for.
    pub models: Vec<ModelState>,
    /// Requests for models that are being answered, oldest first.
    pub requests: Vec<RequestState>,
    /// The newest batch jobs of the key.
    pub batches: Vec<BatchState>,
    /// Lines of the log since the last event; the first event has the latest ones.
    pub log: Vec<String>,
}

/// Memory that models are loaded into.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Device {
    pub name: String,
    pub description: String,
    pub is_gpu: bool,
    pub total_bytes: u64,
    pub free_bytes: u64,
}

/// A model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ModelState {
    pub name: String,
    pub is_loaded: bool,
    /// The model is unloaded when its requests have ended.
    pub is_going: bool,
    pub size_bytes: u64,
    pub vram_bytes: u64,
    pub gpus: Vec<String>,
    pub context_length: u32,
    /// Absent = never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    pub n_slots: u32,
    /// Requests that have a slot, that wait for a slot, and that wait until the model is loaded.
    pub n_running: u64,
    pub n_waiting: u64,
    pub n_awaiting: u64,
    /// Cells of the KV cache: in total, used by running requests, and kept for later prompts.
    pub cells: u64,
    pub cells_used: u64,
    pub cells_kept: u64,
    /// Tokens per second since the last event.
    pub prompt_rate: f64,
    pub generated_rate: f64,
    /// Seconds, on average over what ended since the last event; absent = nothing ended.
    pub first_token: Option<f64>,
    pub between_tokens: Option<f64>,
}

/// A request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RequestState {
    pub id: String,
    pub route: String,
    /// The client's key and address; empty if this reader may not see other clients.
    pub client: String,
    pub model: String,
    /// `loading`, `waiting` (for a slot, or its prompt is being computed) or `generating`.
    pub phase: String,
    pub n_prompt: u64,
    pub n_generated: u64,
    /// Seconds since the request arrived.
    pub seconds: f64,
}

/// A batch job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BatchState {
    pub id: String,
    pub model: String,
    pub status: String,
    pub total: u64,
    pub completed: u64,
    pub failed: u64,
}
