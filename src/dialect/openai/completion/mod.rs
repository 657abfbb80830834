//! Completions: converts a request to native ones, and chunks to a response.
//!
//! As in Ollama, a text prompt goes through the model's chat template, and thinking is not returned. If the answer
//! returns the prompt with its tokens' log-probabilities, the prompt goes to the model as it is.

mod answer;
#[cfg(test)]
mod tests;

pub use answer::{CompletionFold, CompletionStream};

use serde_json::Value;

use super::check::{Options, integer};
use super::values::{Prompt, go_type, n_choices, seed_of};
use super::{MAX_CHOICES, guided, invalid};
use crate::api::openai::CompletionRequest;
use crate::error::RequestError;
use crate::inference::{GenerateRequest, RequestOptions};
use crate::model::options::{OptionPatch, biases, count, single};

/// The largest `best_of`: OpenAI's limit.
const MOST_BEST_OF: i64 = 20;

/// The most log-probabilities of prompts in one answer, including alternatives: some 100 MB.
const MOST_PROMPT_LOGPROBS: usize = 1 << 20;

/// The native requests of one request, prompt by prompt.
#[derive(Debug, Clone)]
pub struct Requests {
    pub natives: Vec<GenerateRequest>,
    pub kept: Kept,
}

/// Which answers are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// How many consecutive choices are generated for each prompt.
    pub n_made: usize,
    /// How many of them, the likeliest, are returned.
    pub n_kept: usize,
    /// Whether their log-probabilities are returned, too.
    pub logprobs: bool,
}

/// Converts a request to one native request for each choice of each prompt.
///
/// # Errors
/// Refuses what Ollama refuses, with its texts and in its order, and values that OpenAI does not allow.
pub fn requests(mut request: CompletionRequest) -> Result<Requests, RequestError> {
    check(&request)?;
    let guided = request.take_guided();
    let prompts = prompts(request.prompt)?;
    let n_kept = n_choices(request.n)?;
    let n_made = n_made(request.best_of, n_kept, request.stream)?;
    if prompts.len().saturating_mul(n_made) > MAX_CHOICES {
        return Err(invalid(format!(
            "prompts times n must be at most {MAX_CHOICES}"
        )));
    }
    let kept = Kept {
        n_made,
        n_kept,
        logprobs: request.logprobs.is_some(),
    };
    let seed = request.seed;
    let options = OptionPatch {
        stop: stop(&request.stop)?,
        num_predict: request.max_tokens,
        temperature: Some(request.temperature.map_or(1.0, single)),
        top_p: Some(single(top_p(request.top_p))),
        frequency_penalty: Some(request.frequency_penalty.map_or(0.0, single)),
        presence_penalty: Some(request.presence_penalty.map_or(0.0, single)),
        logit_bias: biases(&request.logit_bias),
        min_tokens: request.min_tokens.map(count),
        ignore_eos: request.ignore_eos.then_some(true),
        ..OptionPatch::default()
    };
    let n_natives = prompts.len() * n_made;
    let tells_prompt = request.echo && kept.logprobs;
    let most_each = u32::try_from(MOST_PROMPT_LOGPROBS / n_natives.max(1)).unwrap_or(u32::MAX);
    let native = GenerateRequest {
        // The reported tokens must be those of the returned text, so the model's template is not used.
        raw: tells_prompt,
        prompt_logprobs: tells_prompt.then_some(most_each),
        suffix: request.suffix,
        echo: request.echo,
        may_be_empty: request.echo,
        common: RequestOptions {
            model: request.model,
            options,
            format: guided::format(guided)?.unwrap_or_default(),
            // Log-probabilities are also needed to find the best answers.
            logprobs: kept.logprobs || n_made > n_kept,
            top_logprobs: top_logprobs(request.logprobs)?,
            debug_render_only: request.debug_render_only,
            ..RequestOptions::default()
        },
        ..GenerateRequest::default()
    };
    let mut natives = Vec::with_capacity(n_natives);
    for prompt in prompts {
        for choice in 0..n_made {
            let mut native = native.clone();
            match &prompt {
                Prompt::Text(text) => native.prompt.clone_from(text),
                Prompt::Tokens(tokens) => native.tokens.clone_from(tokens),
            }
            native.common.options.seed = seed_of(seed, choice);
            natives.push(native);
        }
    }
    Ok(Requests { natives, kept })
}

/// Checks that need single fields only.
fn check(request: &CompletionRequest) -> Result<(), RequestError> {
    let options = Options {
        temperature: request.temperature,
        top_p: request.top_p,
        frequency_penalty: request.frequency_penalty,
        presence_penalty: request.presence_penalty,
        max_tokens: request.max_tokens,
        min_tokens: request.min_tokens,
        logit_bias: &request.logit_bias,
    };
    options.check()?;
    if request.echo && request.logprobs.is_some() && !request.suffix.is_empty() {
        let error = invalid("'echo' with 'logprobs' is not possible with 'suffix'");
        return Err(error.about("suffix", "invalid_value"));
    }
    Ok(())
}

/// How many answers are generated to return `n`.
fn n_made(best_of: Option<i64>, n: usize, is_stream: bool) -> Result<usize, RequestError> {
    let Some(best_of) = best_of else { return Ok(n) };
    integer("best_of", Some(best_of), 1..=MOST_BEST_OF)?;
    let n_made = usize::try_from(best_of).unwrap_or_default();
    let wrong = |message: &str| Err(invalid(message).about("best_of", "invalid_value"));
    if n_made < n {
        return wrong("'best_of' must be at least 'n'");
    }
    if n_made > n && is_stream {
        return wrong("'best_of' above 'n' is not possible with 'stream'");
    }
    Ok(n_made)
}

fn prompts(prompt: Value) -> Result<Vec<Prompt>, RequestError> {
    if prompt.is_null() {
        return Ok(vec![Prompt::Text(String::new())]);
    }
    let refused = || {
        let message = "prompt must be a string, tokens, or an array of either";
        invalid(message).about("prompt", "invalid_type")
    };
    Prompt::all_of(prompt).ok_or_else(refused)
}

/// Types other than text and array are skipped; within an array they are refused.
fn stop(stop: &Value) -> Result<Option<Vec<String>>, RequestError> {
    let text = |item: &Value| {
        let wrong = || {
            let message = format!("invalid type for 'stop' field: {}", go_type(item));
            invalid(message).about("stop", "invalid_type")
        };
        item.as_str().map(str::to_owned).ok_or_else(wrong)
    };
    match stop {
        Value::String(stop) => Ok(Some(vec![stop.clone()])),
        Value::Array(items) if !items.is_empty() => {
            items.iter().map(text).collect::<Result<_, _>>().map(Some)
        }
        _ => Ok(None),
    }
}

/// Zero counts as absent on this route.
fn top_p(top_p: Option<f64>) -> f64 {
    top_p.filter(|&top_p| top_p != 0.0).unwrap_or(1.0)
}

fn top_logprobs(n: Option<i64>) -> Result<u32, RequestError> {
    u32::try_from(n.unwrap_or_default())
        .ok()
        .filter(|n| *n <= 20)
        .ok_or_else(|| {
            invalid("logprobs must be between 0 and 20").about("logprobs", "invalid_value")
        })
}
