//! Completions: a request into native ones, chunks into an answer.
//!
//! As in Ollama the prompt goes through the model's chat template; thinking is not returned.

mod answer;
#[cfg(test)]
mod tests;

pub use answer::{CompletionFold, CompletionStream};

use serde_json::Value;

use super::values::{OptionMap, given, go_type, n_choices, seed_of};
use super::{MAX_CHOICES, guided, invalid};
use crate::api::openai::CompletionRequest;
use crate::inference::{GenerateRequest, InferenceError, RequestOptions};

/// The native requests of one request, prompt by prompt.
#[derive(Debug, Clone)]
pub struct Requests {
    pub natives: Vec<GenerateRequest>,
    /// How many choices in a row share a prompt.
    pub n_per_prompt: usize,
}

/// Reads a request: one native request for each choice of each prompt.
///
/// # Errors
/// Refuses what the reference refuses, in its words and its order.
pub fn requests(mut request: CompletionRequest) -> Result<Requests, InferenceError> {
    let guided = request.take_guided();
    let prompts = prompts(request.prompt)?;
    let n = n_choices(request.n)?;
    if prompts.len().saturating_mul(n) > MAX_CHOICES {
        return Err(invalid(format!(
            "prompts times n must be at most {MAX_CHOICES}"
        )));
    }
    let seed = request.seed;
    let options = OptionMap::default()
        .set("stop", stop(&request.stop)?)
        .set("num_predict", request.max_tokens)
        .set("temperature", Some(request.temperature.unwrap_or(1.0)))
        .set("top_p", Some(top_p(request.top_p)))
        .set(
            "frequency_penalty",
            Some(request.frequency_penalty.unwrap_or(0.0)),
        )
        .set(
            "presence_penalty",
            Some(request.presence_penalty.unwrap_or(0.0)),
        )
        .set("logit_bias", given(request.logit_bias));
    let native = GenerateRequest {
        suffix: request.suffix,
        common: RequestOptions {
            model: request.model,
            options: options.into_map(),
            format: guided::format(guided)?.unwrap_or_default(),
            logprobs: request.logprobs.is_some(),
            top_logprobs: top_logprobs(request.logprobs)?,
            debug_render_only: request.debug_render_only,
            ..RequestOptions::default()
        },
        ..GenerateRequest::default()
    };
    let mut natives = Vec::with_capacity(prompts.len() * n);
    for prompt in prompts {
        for choice in 0..n {
            let mut native = native.clone();
            native.prompt.clone_from(&prompt);
            if let Some(seed) = seed_of(seed, choice) {
                let options = &mut native.common.options;
                options.insert("seed".to_owned(), seed.into());
            }
            natives.push(native);
        }
    }
    Ok(Requests {
        natives,
        n_per_prompt: n,
    })
}

fn prompts(prompt: Value) -> Result<Vec<String>, InferenceError> {
    let refused = || invalid("prompt must be a string or an array of strings");
    match prompt {
        Value::Null => Ok(vec![String::new()]),
        Value::String(text) => Ok(vec![text]),
        Value::Array(items) if !items.is_empty() => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(refused()),
            })
            .collect(),
        _ => Err(refused()),
    }
}

/// Types other than text and array are skipped; within an array they are refused.
fn stop(stop: &Value) -> Result<Option<Vec<Value>>, InferenceError> {
    match stop {
        Value::String(_) => Ok(Some(vec![stop.clone()])),
        Value::Array(items) => match items.iter().find(|item| !item.is_string()) {
            Some(item) => Err(invalid(format!(
                "invalid type for 'stop' field: {}",
                go_type(item)
            ))),
            None => Ok((!items.is_empty()).then(|| items.clone())),
        },
        _ => Ok(None),
    }
}

/// Zero counts as absent on this route.
fn top_p(top_p: Option<f64>) -> f64 {
    top_p.filter(|&top_p| top_p != 0.0).unwrap_or(1.0)
}

fn top_logprobs(n: Option<i64>) -> Result<u32, InferenceError> {
    u32::try_from(n.unwrap_or_default())
        .ok()
        .filter(|n| *n <= 20)
        .ok_or_else(|| invalid("logprobs must be between 0 and 20"))
}
