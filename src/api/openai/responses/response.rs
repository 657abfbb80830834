//! The response object, and answers of the other routes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{OutputItem, Status};

/// A response. All keys are always present, since typed clients require most of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = responses::Response)]
pub struct Response {
    pub id: String,
    /// `response`
    pub object: Cow<'static, str>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds; only if the response is completed.
    #[schema(required)]
    pub completed_at: Option<i64>,
    pub status: Status,
    #[schema(required)]
    pub incomplete_details: Option<IncompleteDetails>,
    pub model: String,
    #[schema(required)]
    pub previous_response_id: Option<String>,
    #[schema(required)]
    pub conversation: Option<ConversationId>,
    #[schema(required)]
    pub instructions: Option<String>,
    pub output: Vec<OutputItem>,
    #[schema(required)]
    pub error: Option<ResponseError>,
    pub tools: Vec<Value>,
    pub tool_choice: Value,
    pub truncation: String,
    pub parallel_tool_calls: bool,
    pub text: Value,
    pub top_p: f64,
    pub temperature: f64,
    pub top_logprobs: i64,
    pub reasoning: Value,
    #[schema(required)]
    pub usage: Option<ResponseUsage>,
    #[schema(required)]
    pub max_output_tokens: Option<i64>,
    #[schema(required)]
    pub max_tool_calls: Option<i64>,
    pub store: bool,
    pub background: bool,
    /// `default`
    pub service_tier: Cow<'static, str>,
    pub metadata: Value,
    #[schema(required)]
    pub user: Option<String>,
    #[schema(required)]
    pub safety_identifier: Option<String>,
    #[schema(required)]
    pub prompt_cache_key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConversationId {
    pub id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncompleteDetails {
    /// `max_output_tokens`
    pub reason: Cow<'static, str>,
}

/// Why a response failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResponseError {
    pub code: Cow<'static, str>,
    pub message: String,
}

/// Token counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResponseUsage {
    pub input_tokens: u64,
    pub input_tokens_details: InputTokensDetails,
    pub output_tokens: u64,
    pub output_tokens_details: OutputTokensDetails,
    pub total_tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = responses::InputTokensDetails)]
pub struct InputTokensDetails {
    /// The part of the prompt that came from the prefix cache.
    pub cached_tokens: u64,
    /// The part that was computed and is now in the cache.
    pub cache_write_tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = responses::OutputTokensDetails)]
pub struct OutputTokensDetails {
    /// The part of the answer that was thinking.
    pub reasoning_tokens: u64,
}

/// Answer of `POST /v1/responses/input_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct InputTokens {
    /// `response.input_tokens`
    pub object: &'static str,
    pub input_tokens: u64,
}

/// Answer of `POST /v1/responses/compact`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Compacted {
    pub id: String,
    /// `response.compaction`
    pub object: &'static str,
    pub created_at: i64,
    pub output: Vec<OutputItem>,
    pub usage: ResponseUsage,
}
