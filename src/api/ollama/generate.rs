//! `/api/generate` and `/api/chat`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::chat::{Message, ToolCall, ToolDefinition, null_is_default};

/// Body of `POST /api/generate`. `think`, `keep_alive` and `format` stay JSON here; the dialect reads them,
/// so that errors have Ollama's texts.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GenerateRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    #[serde(deserialize_with = "null_is_default")]
    pub prompt: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub suffix: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub system: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub template: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub context: Vec<i32>,
    /// `None` = true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub raw: bool,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub format: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub keep_alive: Value,
    /// Base64 texts.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub images: Vec<crate::chat::Image>,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub options: Map<String, Value>,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub think: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<bool>,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub logprobs: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub top_logprobs: i64,
    #[serde(
        rename = "_debug_render_only",
        deserialize_with = "null_is_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub debug_render_only: bool,
}

/// Body of `POST /api/chat`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ChatRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    #[serde(deserialize_with = "null_is_default")]
    pub messages: Vec<Message>,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub tools: Vec<ToolDefinition>,
    /// `None` = true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub format: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub keep_alive: Value,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub options: Map<String, Value>,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub think: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<bool>,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub logprobs: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub top_logprobs: i64,
    #[serde(
        rename = "_debug_render_only",
        deserialize_with = "null_is_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub debug_render_only: bool,
}

/// One line (or the only object) of a generate answer.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GenerateResponse {
    pub model: String,
    pub created_at: String,
    pub response: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub thinking: String,
    pub done: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub done_reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Vec<i32>>,
    #[serde(flatten)]
    pub metrics: Metrics,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    #[serde(rename = "_debug_info", skip_serializing_if = "Option::is_none")]
    pub debug_info: Option<DebugInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<Logprob>,
}

/// One line (or the only object) of a chat answer.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ChatResponse {
    pub model: String,
    pub created_at: String,
    pub message: ResponseMessage,
    pub done: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub done_reason: String,
    #[serde(rename = "_debug_info", skip_serializing_if = "Option::is_none")]
    pub debug_info: Option<DebugInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<Logprob>,
    #[serde(flatten)]
    pub metrics: Metrics,
}

/// The message of an answer; `content` is always present.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ResponseMessage {
    pub role: String,
    pub content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
}

/// Counters of the final object: nanoseconds and tokens, absent when zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Metrics {
    #[serde(skip_serializing_if = "is_zero")]
    pub total_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub load_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub prompt_eval_count: u64,
    /// The part of `prompt_eval_count` that was in the cache; since Ollama 0.35. `None` = not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_eval_cached_count: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub prompt_eval_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub eval_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub eval_duration: u64,
    /// Not in Ollama: whether the prompt was cut to fit the context. Absent if it was not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prompt_truncated: bool,
}

/// Answer to `_debug_render_only`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DebugInfo {
    pub rendered_template: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub image_count: u64,
}

/// Log-probability of one token.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Logprob {
    pub token: String,
    pub logprob: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bytes: Vec<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top_logprobs: Vec<TopLogprob>,
}

/// An alternative token.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TopLogprob {
    pub token: String,
    pub logprob: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bytes: Vec<u8>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
