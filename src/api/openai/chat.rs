//! `/v1/chat/completions`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::shared::has_guided;
use super::{Arguments, Content, FinishReason, Logprobs, StreamOptions, Timings, Usage};
use crate::api::ollama::DebugInfo;
use crate::chat::{ToolDefinition, ToolFunction, null_is_default};

/// Body of `POST /v1/chat/completions`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = openai::ChatRequest)]
pub struct ChatRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    #[serde(deserialize_with = "null_is_default")]
    #[schema(default)]
    pub messages: Vec<Message>,
    #[serde(deserialize_with = "null_is_default")]
    pub stream: bool,
    #[schema(default)]
    pub stream_options: Option<StreamOptions>,
    /// Deprecated by OpenAI; still what most clients send.
    pub max_tokens: Option<i64>,
    /// Takes precedence over `max_tokens`.
    pub max_completion_tokens: Option<i64>,
    pub n: Option<i64>,
    pub seed: Option<i64>,
    /// A string or an array of strings.
    pub stop: Value,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    /// Token ids, with the numbers that are added to their logits.
    pub logit_bias: Value,
    #[schema(default)]
    pub response_format: Option<ResponseFormat>,
    #[serde(deserialize_with = "null_is_default")]
    pub tools: Vec<ToolDefinition>,
    /// A word or an object.
    pub tool_choice: Value,
    /// `None` = true.
    pub parallel_tool_calls: Option<bool>,
    /// Deprecated by OpenAI in favour of `tools`.
    #[serde(deserialize_with = "null_is_default")]
    pub functions: Vec<ToolFunction>,
    /// A word or an object.
    pub function_call: Value,
    /// What the client expects most of the answer to be.
    #[schema(default)]
    pub prediction: Option<Prediction>,
    /// The kinds of output that the client accepts; drover generates text only.
    pub modalities: Value,
    pub audio: Value,
    /// vLLM's and llama-server's: the model's end token does not end the answer.
    #[serde(deserialize_with = "null_is_default")]
    pub ignore_eos: bool,
    /// vLLM's: the answer does not end before this many tokens.
    pub min_tokens: Option<i64>,
    /// What clients of vLLM and llama-server pass to a model's template.
    #[schema(default)]
    pub chat_template_kwargs: Option<TemplateArguments>,
    /// `auto`, `default`, `priority`, `scale`; `flex`: after the requests of others.
    #[serde(deserialize_with = "null_is_default")]
    pub service_tier: String,
    /// The most tokens of thinking, under the name of Qwen's service.
    pub thinking_budget: Option<i64>,
    /// The same, under llama-server's name.
    pub thinking_budget_tokens: Option<i64>,
    /// The same, under vLLM's name.
    pub thinking_token_budget: Option<i64>,
    #[schema(default)]
    pub reasoning: Option<Reasoning>,
    #[serde(deserialize_with = "null_is_default")]
    pub reasoning_effort: String,
    #[serde(deserialize_with = "null_is_default")]
    pub logprobs: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub top_logprobs: i64,
    /// Constraints in the formats of other servers ([`super::Guided`]).
    pub structured_outputs: Value,
    pub guided_json: Value,
    pub guided_regex: Value,
    pub guided_choice: Value,
    pub guided_grammar: Value,
    pub grammar: Value,
    pub json_schema: Value,
    /// Store the chat, so that it can be read at `/v1/chat/completions/{id}`.
    #[serde(deserialize_with = "null_is_default")]
    pub store: bool,
    /// Texts, by name; stored with the chat.
    pub metadata: Value,
    /// Stored with the chat.
    #[serde(deserialize_with = "null_is_default")]
    pub user: String,
    #[serde(rename = "_debug_render_only", deserialize_with = "null_is_default")]
    pub debug_render_only: bool,
}

has_guided!(ChatRequest);

/// `prediction` of a request.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct Prediction {
    /// `content`
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    #[schema(default)]
    pub content: Content,
}

/// One message of a request.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = openai::Message)]
pub struct Message {
    #[serde(deserialize_with = "null_is_default")]
    pub role: String,
    #[schema(default)]
    pub content: Content,
    #[serde(deserialize_with = "null_is_default")]
    pub reasoning: String,
    /// Another spelling of `reasoning` that many clients send.
    #[serde(deserialize_with = "null_is_default")]
    pub reasoning_content: String,
    /// `None` = the key is absent; then a message needs `content`.
    #[schema(default)]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// Deprecated by OpenAI in favour of `tool_calls`.
    #[schema(default)]
    pub function_call: Option<CalledFunction>,
    /// For role `tool`: the function that answered.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    #[serde(deserialize_with = "null_is_default")]
    pub tool_call_id: String,
}

/// A call that the assistant made earlier.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = openai::ToolCall)]
pub struct ToolCall {
    #[serde(deserialize_with = "null_is_default")]
    pub id: String,
    #[schema(default)]
    pub function: CalledFunction,
}

/// The function that was called earlier.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct CalledFunction {
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    #[serde(deserialize_with = "null_is_default")]
    #[schema(value_type = String, default)]
    pub arguments: Arguments,
}

/// The called function; `arguments` is JSON in a string.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = openai::ToolCallFunction)]
pub struct ToolCallFunction {
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    #[serde(deserialize_with = "null_is_default")]
    pub arguments: String,
}

/// `response_format` of a request.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct ResponseFormat {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    #[schema(default)]
    pub json_schema: Option<JsonSchemaFormat>,
}

#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct JsonSchemaFormat {
    pub schema: Value,
}

/// `reasoning` of a request.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = openai::Reasoning)]
pub struct Reasoning {
    #[serde(deserialize_with = "null_is_default")]
    pub effort: String,
}

/// `chat_template_kwargs` of a request: the arguments that every model's template may use.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct TemplateArguments {
    pub enable_thinking: Option<bool>,
    /// Another spelling of `enable_thinking`.
    pub thinking: Option<bool>,
    #[serde(deserialize_with = "null_is_default")]
    pub reasoning_effort: String,
}

/// The whole answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChatCompletion {
    pub id: String,
    /// `chat.completion`
    pub object: &'static str,
    /// Unix seconds.
    pub created: i64,
    pub model: String,
    pub system_fingerprint: &'static str,
    pub choices: Vec<ChatChoice>,
    /// Present if the request names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'static str>,
    pub usage: Usage,
    /// Not in OpenAI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    #[serde(rename = "_debug_info", skip_serializing_if = "Option::is_none")]
    pub debug_info: Option<DebugInfo>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatChoice {
    pub index: usize,
    pub message: AnswerMessage,
    #[schema(required)]
    pub finish_reason: Option<FinishReason>,
    /// The stop sequence that ended the choice; vLLM's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// Always present: typed clients require the key.
    #[schema(required)]
    pub logprobs: Option<Logprobs>,
}

/// The message of an answer; `content` is always a string.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct AnswerMessage {
    /// `assistant`
    pub role: &'static str,
    pub content: String,
    /// Always `null`: typed clients require the key.
    #[schema(required)]
    pub refusal: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<AnswerToolCall>,
    /// Replaces `tool_calls` for a request with `functions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<ToolCallFunction>,
}

/// A whole call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AnswerToolCall {
    pub id: String,
    pub index: u32,
    /// `function`
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub function: ToolCallFunction,
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChatChunk<'a> {
    pub id: &'a str,
    /// `chat.completion.chunk`
    pub object: &'static str,
    pub created: i64,
    pub model: &'a str,
    pub system_fingerprint: &'static str,
    pub choices: Vec<ChunkChoice>,
    /// Present if the request names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'static str>,
    /// `null` before the last event; absent if the request did not ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    pub usage: Option<Option<Usage>>,
    /// Not in OpenAI; in the event with the counters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct ChunkChoice {
    pub index: usize,
    pub delta: Delta,
    #[schema(required)]
    pub finish_reason: Option<FinishReason>,
    /// The stop sequence that ended the choice; vLLM's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Logprobs>,
}

/// The part of the message that a chunk adds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Delta {
    /// `assistant`, in a choice's first chunk only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<CallDelta>,
    /// Replaces `tool_calls` for a request with `functions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<ToolCallFunction>,
}

/// A part of a call's arguments; the first part also has the id and the name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct CallDelta {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    pub index: u32,
    /// `function`
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    pub function: FunctionDelta,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct FunctionDelta {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub arguments: String,
}
