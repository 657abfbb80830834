//! Chat completions: a request into native ones, chunks into an answer.

mod answer;
mod message;
#[cfg(test)]
mod tests;
mod tools;

pub use answer::{ChatFold, ChatStream};

use serde_json::Value;

use super::values::{OptionMap, given, n_choices, seed_of};
use super::{guided, invalid};
use crate::api::openai;
use crate::chat::{Think, ThinkLevel};
use crate::inference::{ChatRequest, InferenceError, RequestOptions};

/// Reads a request: one native request for each choice.
///
/// # Errors
/// Refuses what the reference refuses, in its words and its order.
pub fn requests(mut request: openai::ChatRequest) -> Result<Vec<ChatRequest>, InferenceError> {
    if request.messages.is_empty() {
        return Err(invalid("[] is too short - 'messages'"));
    }
    let n = n_choices(request.n)?;
    let seed = request.seed;
    let guided = request.take_guided();
    let options = OptionMap::default()
        .set("stop", stop(&request.stop))
        .set(
            "num_predict",
            request.max_completion_tokens.or(request.max_tokens),
        )
        .set("temperature", Some(request.temperature.unwrap_or(1.0)))
        .set("top_p", Some(request.top_p.unwrap_or(1.0)))
        .set("frequency_penalty", request.frequency_penalty)
        .set("presence_penalty", request.presence_penalty)
        .set("logit_bias", given(request.logit_bias));
    let native = ChatRequest {
        messages: message::natives(request.messages)?,
        tools: tools::offered(request.tools, &request.tool_choice)?,
        must_call: tools::must_call(&request.tool_choice, request.parallel_tool_calls),
        common: RequestOptions {
            model: request.model,
            options: options.into_map(),
            format: match guided::format(guided)? {
                Some(format) => format,
                None => format(request.response_format),
            },
            think: think(request.reasoning, request.reasoning_effort)?,
            logprobs: request.logprobs,
            top_logprobs: top_logprobs(request.top_logprobs)?,
            debug_render_only: request.debug_render_only,
            ..RequestOptions::default()
        },
    };
    Ok((0..n)
        .map(|choice| {
            let mut native = native.clone();
            if let Some(seed) = seed_of(seed, choice) {
                let options = &mut native.common.options;
                options.insert("seed".to_owned(), seed.into());
            }
            native
        })
        .collect())
}

/// Chat skips what is not text; completions refuse it. An empty list leaves the model's own.
fn stop(stop: &Value) -> Option<Vec<Value>> {
    let items = match stop {
        Value::Array(items) => items.as_slice(),
        other => std::slice::from_ref(other),
    };
    let texts: Vec<Value> = items
        .iter()
        .filter(|item| item.is_string())
        .cloned()
        .collect();
    (!texts.is_empty()).then_some(texts)
}

fn format(format: Option<openai::ResponseFormat>) -> Value {
    let Some(format) = format else {
        return Value::Null;
    };
    match format.kind.to_lowercase().as_str() {
        "json_object" => Value::from("json"),
        "json_schema" => format.json_schema.unwrap_or_default().schema,
        _ => Value::Null,
    }
}

/// The object wins over the word, even when it says nothing.
fn think(
    reasoning: Option<openai::Reasoning>,
    effort: String,
) -> Result<Option<Think>, InferenceError> {
    let effort = reasoning.map_or(effort, |reasoning| reasoning.effort);
    match effort.as_str() {
        "" => Ok(None),
        "none" => Ok(Some(Think::Off)),
        "minimal" | "low" => Ok(Some(Think::Level(ThinkLevel::Low))),
        "medium" => Ok(Some(Think::Level(ThinkLevel::Medium))),
        "high" => Ok(Some(Think::Level(ThinkLevel::High))),
        "xhigh" | "max" | "ultra" => Ok(Some(Think::Level(ThinkLevel::Max))),
        _ => Err(invalid(format!(
            "invalid reasoning value: \"{effort}\" (must be \"minimal\", \"low\", \"medium\", \"high\", \"xhigh\", \"ultra\", \"max\", or \"none\")"
        ))),
    }
}

fn top_logprobs(n: i64) -> Result<u32, InferenceError> {
    u32::try_from(n)
        .ok()
        .filter(|n| *n <= 20)
        .ok_or_else(|| invalid("top_logprobs must be between 0 and 20"))
}
