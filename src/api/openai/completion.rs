//! `/v1/completions`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::shared::has_guided;
use super::{FinishReason, StreamOptions, Timings, Usage};
use crate::chat::null_is_default;

/// Body of `POST /v1/completions`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct CompletionRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// A string, tokens, or an array of either.
    pub prompt: Value,
    #[serde(deserialize_with = "null_is_default")]
    pub suffix: String,
    pub max_tokens: Option<i64>,
    pub n: Option<i64>,
    /// The number of answers to generate; the likeliest `n` are returned.
    pub best_of: Option<i64>,
    /// Return the prompt before the answer.
    #[serde(deserialize_with = "null_is_default")]
    pub echo: bool,
    /// vLLM's and llama-server's: the model's end token does not end the answer.
    #[serde(deserialize_with = "null_is_default")]
    pub ignore_eos: bool,
    /// vLLM's: the answer does not end before this many tokens.
    pub min_tokens: Option<i64>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    /// Token ids, with the numbers that are added to their logits.
    pub logit_bias: Value,
    pub seed: Option<i64>,
    /// A string or an array of strings.
    pub stop: Value,
    #[serde(deserialize_with = "null_is_default")]
    pub stream: bool,
    #[schema(default)]
    pub stream_options: Option<StreamOptions>,
    /// Number of alternatives; 0 = only the chosen tokens.
    pub logprobs: Option<i64>,
    /// Constraints in the formats of other servers ([`super::Guided`]).
    pub structured_outputs: Value,
    pub guided_json: Value,
    pub guided_regex: Value,
    pub guided_choice: Value,
    pub guided_grammar: Value,
    pub grammar: Value,
    pub json_schema: Value,
    #[serde(rename = "_debug_render_only", deserialize_with = "null_is_default")]
    pub debug_render_only: bool,
}

has_guided!(CompletionRequest);

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Completion {
    pub id: String,
    /// `text_completion`
    pub object: &'static str,
    /// Unix seconds.
    pub created: i64,
    pub model: String,
    pub system_fingerprint: &'static str,
    pub choices: Vec<CompletionChoice>,
    pub usage: Usage,
    /// Not in OpenAI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CompletionChunk<'a> {
    pub id: &'a str,
    /// `text_completion`, as for a whole answer.
    pub object: &'static str,
    pub created: i64,
    pub model: &'a str,
    pub system_fingerprint: &'static str,
    pub choices: Vec<CompletionChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Not in OpenAI; in the last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

/// One choice, or a piece of one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct CompletionChoice {
    pub text: String,
    pub index: usize,
    #[schema(required)]
    pub finish_reason: Option<FinishReason>,
    /// The stop sequence that ended the choice; vLLM's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// Always present: typed clients require the key.
    #[schema(required)]
    pub logprobs: Option<CompletionLogprobs>,
}

/// Parallel lists, one entry for each token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct CompletionLogprobs {
    pub tokens: Vec<String>,
    /// `null` for the first token of a prompt, since nothing precedes it.
    pub token_logprobs: Vec<Option<f32>>,
    /// Alternatives with their log-probabilities; also `null` for the first token of a prompt.
    pub top_logprobs: Vec<Option<Map<String, Value>>>,
    /// Where each token begins in the choice's text, in characters.
    pub text_offset: Vec<usize>,
}
