//! Values that several endpoints share.

use serde_json::Value;

use super::{MAX_CHOICES, invalid};
use crate::api::openai::{FinishReason, TokenLogprob, TopLogprob};
use crate::error::RequestError;
use crate::inference::{DoneReason, Logprob};
use crate::protocol::Token;

/// The lowest log-probability in responses: JSON has no infinity.
const LEAST_LOGPROB: f32 = -9999.0;

/// A prompt, or an input to embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prompt {
    Text(String),
    Tokens(Vec<Token>),
}

impl Prompt {
    /// Parses a text, tokens, or a list of either; `None` for anything else.
    pub(super) fn all_of(value: Value) -> Option<Vec<Self>> {
        match value {
            Value::String(text) => Some(vec![Self::Text(text)]),
            Value::Array(items) if items.first().is_some_and(Value::is_number) => {
                Some(vec![Self::Tokens(tokens(&items)?)])
            }
            Value::Array(items) if !items.is_empty() => {
                let prompts = items.into_iter().map(|item| match item {
                    Value::String(text) => Some(Self::Text(text)),
                    Value::Array(items) => Some(Self::Tokens(tokens(&items)?)),
                    _ => None,
                });
                prompts.collect()
            }
            _ => None,
        }
    }
}

fn tokens(items: &[Value]) -> Option<Vec<Token>> {
    if items.is_empty() {
        return None;
    }
    let tokens = items
        .iter()
        .map(|item| Token::try_from(item.as_i64()?).ok());
    tokens.collect()
}

/// Parses `n`.
///
/// # Errors
/// Refuses numbers outside 1 to [`MAX_CHOICES`].
pub(super) fn n_choices(n: Option<i64>) -> Result<usize, RequestError> {
    let n = n.unwrap_or(1);
    usize::try_from(n)
        .ok()
        .filter(|n| (1..=MAX_CHOICES).contains(n))
        .ok_or_else(|| {
            let message = format!("n must be between 1 and {MAX_CHOICES}");
            invalid(message).about("n", "invalid_value")
        })
}

/// The seed of a choice: a fixed seed is varied, since otherwise all choices would be equal.
pub(super) fn seed_of(seed: Option<i64>, choice: usize) -> Option<i64> {
    let choice = i64::try_from(choice).unwrap_or_default();
    // A seed of −1 stays random.
    seed.map(|seed| {
        if seed == -1 {
            seed
        } else {
            seed.wrapping_add(choice)
        }
    })
}

/// Go's name for the type of a JSON value, for Ollama's messages.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Why a choice ended: `of_calls` if it has calls. A load or unload is reported as `stop`, since typed clients know no
/// other reason.
pub(super) fn finish_reason(
    reason: &DoneReason,
    of_calls: Option<FinishReason>,
) -> Option<FinishReason> {
    match reason {
        DoneReason::Stop | DoneReason::StopSequence(_) if of_calls.is_some() => of_calls,
        DoneReason::Stop | DoneReason::StopSequence(_) | DoneReason::Load | DoneReason::Unload => {
            Some(FinishReason::Stop)
        }
        DoneReason::Length => Some(FinishReason::Length),
        DoneReason::Debug => None,
    }
}

/// The request's stop sequence that ended a choice, as vLLM reports it.
pub(super) fn stop_reason(reason: DoneReason) -> Option<String> {
    match reason {
        DoneReason::StopSequence(stop) => Some(stop),
        _ => None,
    }
}

/// Converts the log-probability of a token.
pub(super) fn logprob(native: Logprob) -> TokenLogprob {
    TokenLogprob {
        token: native.token,
        logprob: finite(native.logprob),
        bytes: native.bytes,
        top_logprobs: native
            .top
            .into_iter()
            .map(|top| TopLogprob {
                token: top.token,
                logprob: finite(top.logprob),
                bytes: top.bytes,
            })
            .collect(),
    }
}

/// A log-probability that typed clients can read.
pub(super) fn finite(logprob: f32) -> f32 {
    logprob.max(LEAST_LOGPROB)
}
