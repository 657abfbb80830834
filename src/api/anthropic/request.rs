//! Body of `POST /v1/messages` and `/v1/messages/count_tokens`.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::content::{Block, Content, TextBlock};
use crate::chat::null_is_default;

/// The body.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct MessagesRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// Required, but not for counting.
    pub max_tokens: Option<i64>,
    #[serde(deserialize_with = "null_is_default")]
    #[schema(default)]
    pub messages: Vec<RequestMessage>,
    /// A text, or blocks of text.
    #[schema(default)]
    pub system: Content<TextBlock>,
    #[serde(deserialize_with = "null_is_default")]
    pub stream: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub stop_sequences: Vec<String>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<i64>,
    #[serde(deserialize_with = "null_is_default")]
    #[schema(default)]
    pub tools: Vec<Tool>,
    #[schema(default)]
    pub tool_choice: Option<ToolChoice>,
    #[schema(default)]
    pub thinking: Option<Thinking>,
    #[schema(default)]
    pub output_config: Option<OutputConfig>,
    /// The older place of `output_config.format`.
    #[schema(default)]
    pub output_format: Option<OutputFormat>,
}

/// A message of the conversation.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct RequestMessage {
    /// `user`, `assistant` or `system`.
    #[serde(deserialize_with = "null_is_default")]
    pub role: String,
    #[schema(default)]
    pub content: Content<Block>,
}

/// A tool that the client offers.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = anthropic::Tool)]
pub struct Tool {
    /// Empty or `custom` for the client's own tools; others have a schema that only Anthropic knows.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    #[serde(deserialize_with = "null_is_default")]
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Option<Map<String, Value>>,
    /// The model gets the tool only after a `tool_reference` has named it.
    #[serde(deserialize_with = "null_is_default")]
    pub defer_loading: bool,
}

/// Whether the model must call a tool.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = anthropic::ToolChoice)]
pub struct ToolChoice {
    /// `auto`, `any`, `tool` or `none`.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    /// For `tool`: which one.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    #[serde(deserialize_with = "null_is_default")]
    pub disable_parallel_tool_use: bool,
}

/// Whether the model thinks, and whether the client wants to see it.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = anthropic::Thinking)]
pub struct Thinking {
    /// `enabled`, `adaptive`, `between_tools` or `disabled`.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    pub budget_tokens: Option<i64>,
    /// `summarized` or `omitted`.
    #[serde(deserialize_with = "null_is_default")]
    pub display: String,
}

/// The format of the answer, and the effort to make it.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct OutputConfig {
    /// `low`, `medium`, `high`, `xhigh` or `max`.
    #[serde(deserialize_with = "null_is_default")]
    pub effort: String,
    #[schema(default)]
    pub format: Option<OutputFormat>,
}

/// A format of the answer.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct OutputFormat {
    /// `json_schema`
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    pub schema: Value,
}
