//! Bodies of requests.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::chat::null_is_default;

/// Body of `POST /v1/responses` and `POST /v1/responses/input_tokens`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct ResponseRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// A text or a list of items.
    pub input: Value,
    pub instructions: Option<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub stream: bool,
    /// `None` = true.
    pub store: Option<bool>,
    #[serde(deserialize_with = "null_is_default")]
    pub background: bool,
    pub previous_response_id: Option<String>,
    /// An id, or an object with one.
    pub conversation: Value,
    #[serde(deserialize_with = "null_is_default")]
    pub include: Vec<String>,
    pub max_output_tokens: Option<i64>,
    pub max_tool_calls: Option<i64>,
    pub metadata: Value,
    /// `None` = true.
    pub parallel_tool_calls: Option<bool>,
    #[schema(default)]
    pub reasoning: Option<Reasoning>,
    #[schema(default)]
    pub text: Option<Text>,
    /// A word or an object.
    pub tool_choice: Value,
    #[serde(deserialize_with = "null_is_default")]
    pub tools: Vec<Value>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_logprobs: Option<i64>,
    pub truncation: Option<String>,
    pub user: Option<String>,
    pub safety_identifier: Option<String>,
    pub prompt_cache_key: Option<String>,
    pub service_tier: Option<String>,
    /// A prompt that is stored at OpenAI.
    pub prompt: Value,
}

/// `reasoning` of a request.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = responses::Reasoning)]
pub struct Reasoning {
    pub effort: Option<String>,
    pub summary: Option<String>,
    /// The older name of `summary`.
    pub generate_summary: Option<String>,
}

/// `text` of a request.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = responses::Text)]
pub struct Text {
    pub format: Value,
    pub verbosity: Option<String>,
}

/// Body of `POST /v1/responses/compact`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct CompactRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// A text or a list of items.
    pub input: Value,
    pub instructions: Option<String>,
    pub previous_response_id: Option<String>,
}
