//! Types that chat and completions share.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::chat::null_is_default;

/// `stream_options` of a request.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct StreamOptions {
    /// The stream ends with a chunk that carries the counters.
    #[serde(deserialize_with = "null_is_default")]
    pub include_usage: bool,
}

/// Token counters of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::Usage)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptTokensDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens_details: Option<CompletionTokensDetails>,
}

/// Not in Ollama; clients show it if it is present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct PromptTokensDetails {
    /// The part of the prompt that came from the prefix cache.
    pub cached_tokens: u64,
}

/// Not in Ollama.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct CompletionTokensDetails {
    /// The part of the answer that was thinking.
    pub reasoning_tokens: u64,
    /// For a request with a prediction: the draft tokens that were accepted and rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_prediction_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected_prediction_tokens: Option<u64>,
}

/// Why a choice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    Stop,
    Length,
    ToolCalls,
    /// A call for a request with `functions`.
    FunctionCall,
}

/// `choices[].logprobs` of chat.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Logprobs {
    pub content: Vec<TokenLogprob>,
    /// Always `null`: typed clients require the key.
    #[schema(required)]
    pub refusal: Option<Vec<TokenLogprob>>,
}

/// Log-probability of one token. Unlike in Ollama, `top_logprobs` is always present: typed clients require
/// it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenLogprob {
    pub token: String,
    pub logprob: f32,
    pub bytes: Vec<u8>,
    pub top_logprobs: Vec<TopLogprob>,
}

/// An alternative token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = openai::TopLogprob)]
pub struct TopLogprob {
    pub token: String,
    pub logprob: f32,
    pub bytes: Vec<u8>,
}

/// Constraints beyond OpenAI's `response_format`: vLLM's and llama-server's fields. Requests list them as
/// single fields: with `flatten`, serde would buffer all unknown fields.
#[derive(Debug, Clone, Default)]
pub struct Guided {
    /// vLLM: an object with one of `json`, `json_object`, `regex`, `choice`, `grammar`.
    pub structured_outputs: Value,
    /// vLLM's older names for the same.
    pub guided_json: Value,
    pub guided_regex: Value,
    pub guided_choice: Value,
    pub guided_grammar: Value,
    /// llama-server's two fields.
    pub grammar: Value,
    pub json_schema: Value,
}

/// Implements `take_guided` for a request type.
macro_rules! has_guided {
    ($request:ty) => {
        impl $request {
            /// Moves the constraints out of the request.
            pub fn take_guided(&mut self) -> $crate::api::openai::Guided {
                use std::mem::take;
                $crate::api::openai::Guided {
                    structured_outputs: take(&mut self.structured_outputs),
                    guided_json: take(&mut self.guided_json),
                    guided_regex: take(&mut self.guided_regex),
                    guided_choice: take(&mut self.guided_choice),
                    guided_grammar: take(&mut self.guided_grammar),
                    grammar: take(&mut self.grammar),
                    json_schema: take(&mut self.json_schema),
                }
            }
        }
    };
}
pub(super) use has_guided;
