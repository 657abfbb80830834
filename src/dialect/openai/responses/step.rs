//! The parts of a response, in a form that can be stored: a stream can be produced from them again.

use serde::{Deserialize, Serialize};

use super::super::values::logprob;
use crate::api::openai::TokenLogprob;
use crate::api::openai::responses::{
    InputTokensDetails, OutputTokensDetails, ResponseError, ResponseUsage, Status,
};
use crate::chat::{CallPart, ToolCall};
use crate::dialect::openai::{error_body, error_status};
use crate::error::{ErrorKind, RequestError};
use crate::inference::{Chunk, Done, DoneReason};

/// One part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    #[serde(rename = "r", skip_serializing_if = "String::is_empty")]
    pub(super) thinking: String,
    #[serde(rename = "t", skip_serializing_if = "String::is_empty")]
    pub(super) content: String,
    #[serde(rename = "c", skip_serializing_if = "Vec::is_empty")]
    pub(super) calls: Vec<ToolCall>,
    #[serde(rename = "p", skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<CallPart>,
    #[serde(rename = "l", skip_serializing_if = "Vec::is_empty")]
    pub(super) logprobs: Vec<TokenLogprob>,
}

impl Step {
    /// What a chunk contributes to the answer; `None` if nothing.
    pub fn of(chunk: Chunk) -> Option<Self> {
        let step = Self {
            thinking: chunk.thinking,
            content: chunk.content,
            calls: chunk.tool_calls,
            parts: chunk.call_parts,
            logprobs: chunk.logprobs.into_iter().map(logprob).collect(),
        };
        (step != Self::default()).then_some(step)
    }

    /// The text that it adds to the answer.
    pub fn text(&self) -> &str {
        &self.content
    }
}

/// How a response ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    pub(super) status: Status,
    pub(super) usage: Option<ResponseUsage>,
    pub(super) error: Option<ResponseError>,
    /// Unix seconds.
    pub(super) at: i64,
    /// Whether the model has answered, even if with nothing.
    pub(super) is_answer: bool,
}

impl Ending {
    /// The end after the model has stopped.
    pub fn of(done: &Done, now: i64) -> Self {
        let timings = done.timings.as_ref();
        let usage = timings.map_or_else(ResponseUsage::default, |timings| {
            let (input, output) = (u64::from(timings.n_prompt), u64::from(timings.n_generated));
            let cached = u64::from(timings.n_cached);
            ResponseUsage {
                input_tokens: input,
                input_tokens_details: InputTokensDetails {
                    cached_tokens: cached,
                    cache_write_tokens: input.saturating_sub(cached),
                },
                output_tokens: output,
                output_tokens_details: OutputTokensDetails {
                    reasoning_tokens: u64::from(timings.n_thinking),
                },
                total_tokens: input + output,
            }
        });
        Self {
            status: match done.reason {
                DoneReason::Length => Status::Incomplete,
                _ => Status::Completed,
            },
            usage: Some(usage),
            error: None,
            at: now,
            is_answer: matches!(done.reason, DoneReason::Stop | DoneReason::StopSequence(_)),
        }
    }

    /// The end after a failure.
    pub fn failed(error: &RequestError, now: i64) -> Self {
        let is_prompt = error_status(error.kind) < 500 && error.kind != ErrorKind::Canceled;
        let code = match error.code {
            // Agents shorten their history when they see this code.
            Some(code @ "context_length_exceeded") => code,
            _ if is_prompt => "invalid_prompt",
            _ => "server_error",
        };
        Self {
            status: Status::Failed,
            error: Some(ResponseError {
                code: code.into(),
                message: error_body(error).error.message,
            }),
            ..Self::cancelled(now)
        }
    }

    /// The response was cancelled.
    pub fn cancelled(now: i64) -> Self {
        Self {
            status: Status::Cancelled,
            usage: None,
            error: None,
            at: now,
            is_answer: false,
        }
    }

    /// Whether the response's items join the conversation.
    pub fn joins(&self) -> bool {
        matches!(self.status, Status::Completed | Status::Incomplete)
    }
}

/// All steps of a response that has ended, so that clients can stream it later.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Steps<S> {
    pub(super) summarizes: bool,
    pub(super) seals: bool,
    pub(super) steps: Vec<S>,
    pub(super) ending: Ending,
}
