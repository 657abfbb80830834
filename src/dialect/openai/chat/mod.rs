//! Chat completions: converts a request to native ones, and chunks to a response.

mod answer;
pub(super) mod message;
mod stored;
#[cfg(test)]
mod tests;
pub(super) mod tools;

pub use answer::{ChatFold, ChatStream, Style};
pub use stored::{Kept, shown};

use serde_json::Value;

use super::check::{Options, unknown, wrong_type};
use super::values::{n_choices, seed_of};
use super::{guided, invalid};
use crate::api::openai::{self, Content, Part};
use crate::chat::{Think, ThinkLevel};
use crate::error::RequestError;
use crate::inference::{ChatRequest, RequestOptions};
use crate::model::options::{OptionPatch, biases, count, single};
use crate::protocol::Priority;
use tools::{Asked, Offer};

/// The most alternatives for a token.
const MOST_TOP_LOGPROBS: i64 = 20;

/// Converts a request to one native request for each choice.
///
/// # Errors
/// Refuses what Ollama refuses, with its texts and in its order, and values that OpenAI does not allow.
pub fn requests(mut request: openai::ChatRequest) -> Result<Vec<ChatRequest>, RequestError> {
    if request.messages.is_empty() {
        let error = invalid("[] is too short - 'messages'");
        return Err(error.about("messages", "empty_array"));
    }
    check(&request)?;
    let n = n_choices(request.n)?;
    let seed = request.seed;
    let guided = request.take_guided();
    let budget = request
        .thinking_budget
        .or(request.thinking_budget_tokens)
        .or(request.thinking_token_budget);
    // A negative budget means no limit, as in those servers.
    let think_budget = budget.and_then(|n_tokens| u32::try_from(n_tokens).ok());
    let from_template = match request.chat_template_kwargs.take() {
        Some(arguments) => think_of(arguments)?,
        None => None,
    };
    let options = OptionPatch {
        stop: stop(&request.stop),
        num_predict: request.max_completion_tokens.or(request.max_tokens),
        temperature: Some(request.temperature.map_or(1.0, single)),
        top_p: Some(request.top_p.map_or(1.0, single)),
        frequency_penalty: request.frequency_penalty.map(single),
        presence_penalty: request.presence_penalty.map(single),
        logit_bias: biases(&request.logit_bias),
        min_tokens: request.min_tokens.map(count),
        ignore_eos: request.ignore_eos.then_some(true),
        ..OptionPatch::default()
    };
    let asked = if request.functions.is_empty() {
        Asked {
            tools: request.tools,
            choice: request.tool_choice,
            parallel: request.parallel_tool_calls,
        }
    } else {
        Asked::of_functions(request.functions, &request.function_call)?
    };
    let Offer {
        tools,
        must_call,
        one_call,
    } = asked.offer()?;
    let native = ChatRequest {
        messages: message::turns(request.messages)?,
        tools,
        must_call,
        one_call,
        common: RequestOptions {
            model: request.model,
            options,
            format: match guided::format(guided)? {
                Some(format) => format,
                None => format(request.response_format)?,
            },
            think: think(request.reasoning, request.reasoning_effort)?.or(from_template),
            think_budget,
            thinks_if_able: from_template.is_some(),
            priority: priority(&request.service_tier),
            logprobs: request.logprobs,
            top_logprobs: u32::try_from(request.top_logprobs).unwrap_or_default(),
            debug_render_only: request.debug_render_only,
            prediction: request.prediction.map_or_else(String::new, predicted),
            ..RequestOptions::default()
        },
    };
    Ok((0..n)
        .map(|choice| {
            let mut native = native.clone();
            native.common.options.seed = seed_of(seed, choice);
            native
        })
        .collect())
}

/// The tier for requests that may wait.
const FLEX: &str = "flex";

/// The tiers that a request may name, and what the answer reports. There is no billing: only `flex` has an effect.
const TIERS: [(&str, &str); 5] = [
    ("auto", "default"),
    ("default", "default"),
    (FLEX, FLEX),
    ("priority", "priority"),
    ("scale", "scale"),
];

/// The priority of a request of this tier.
pub(super) fn priority(tier: &str) -> Priority {
    if tier == FLEX {
        Priority::Batch
    } else {
        Priority::Interactive
    }
}

/// The tier that an answer reports; `None` if the request names none.
pub fn service_tier(requested: &str) -> Option<&'static str> {
    let known = TIERS.iter().find(|(name, _)| *name == requested);
    known.map(|(_, told)| *told)
}

/// The text of a prediction.
fn predicted(prediction: openai::Prediction) -> String {
    let text = |part: Part| match part {
        Part::Text(text) => text,
        _ => String::new(),
    };
    match prediction.content {
        Content::Text(text) => text,
        Content::Parts(parts) => parts.into_iter().map(text).collect(),
        _ => String::new(),
    }
}

/// Checks that need single fields only.
fn check(request: &openai::ChatRequest) -> Result<(), RequestError> {
    let options = Options {
        temperature: request.temperature,
        top_p: request.top_p,
        frequency_penalty: request.frequency_penalty,
        presence_penalty: request.presence_penalty,
        max_tokens: request.max_completion_tokens.or(request.max_tokens),
        min_tokens: request.min_tokens,
        logit_bias: &request.logit_bias,
    };
    options.check()?;
    if !(0..=MOST_TOP_LOGPROBS).contains(&request.top_logprobs) {
        let error = invalid("top_logprobs must be between 0 and 20");
        return Err(error.about("top_logprobs", "invalid_value"));
    }
    if !request.service_tier.is_empty() && service_tier(&request.service_tier).is_none() {
        let known = "'auto', 'default', 'flex', 'priority', and 'scale'";
        return Err(unknown("service_tier", &request.service_tier, known));
    }
    if request.top_logprobs > 0 && !request.logprobs {
        let error = invalid("'top_logprobs' is only allowed when 'logprobs' is true");
        return Err(error.about("top_logprobs", "invalid_value"));
    }
    let sounds = |value: &Value| {
        value
            .as_array()
            .is_some_and(|all| all.iter().any(|kind| kind == "audio"))
    };
    if let Some(prediction) = &request.prediction {
        if prediction.kind != "content" {
            return Err(unknown("prediction.type", &prediction.kind, "'content'"));
        }
        if !matches!(prediction.content, Content::Text(_) | Content::Parts(_)) {
            let error = invalid("prediction.content must be a text or a list of texts");
            return Err(error.about("prediction.content", "invalid_type"));
        }
    }
    if sounds(&request.modalities) {
        return Err(unknown("modalities", "audio", "'text'"));
    }
    if !request.audio.is_null() {
        let error = invalid("this server does not answer with sound");
        return Err(error.about("audio", "unsupported_value"));
    }
    if !request.functions.is_empty() && !request.tools.is_empty() {
        let error = invalid("'functions' and 'tools' cannot both be given");
        return Err(error.about("functions", "invalid_value"));
    }
    Ok(())
}

/// Chat skips values that are not text; completions refuse them. An empty list means the model's own stop texts.
fn stop(stop: &Value) -> Option<Vec<String>> {
    let items = match stop {
        Value::Array(items) => items.as_slice(),
        other => std::slice::from_ref(other),
    };
    let texts = items.iter().filter_map(Value::as_str);
    let texts: Vec<String> = texts.map(str::to_owned).collect();
    (!texts.is_empty()).then_some(texts)
}

fn format(format: Option<openai::ResponseFormat>) -> Result<Value, RequestError> {
    let Some(format) = format else {
        return Ok(Value::Null);
    };
    match format.kind.to_lowercase().as_str() {
        "json_object" => Ok(Value::from("json")),
        "json_schema" => match format.json_schema.unwrap_or_default().schema {
            schema @ (Value::Null | Value::Object(_)) => Ok(schema),
            other => Err(wrong_type(
                "response_format.json_schema.schema",
                "an object",
                &other,
            )),
        },
        _ => Ok(Value::Null),
    }
}

/// What the template arguments say about thinking.
fn think_of(arguments: openai::TemplateArguments) -> Result<Option<Think>, RequestError> {
    let switch = arguments.enable_thinking.or(arguments.thinking);
    if switch == Some(false) {
        return Ok(Some(Think::Off));
    }
    let level = think(None, arguments.reasoning_effort)?;
    Ok(level.or(switch.map(|_| Think::On)))
}

/// The object takes precedence over the string, even if it is empty.
pub(super) fn think(
    reasoning: Option<openai::Reasoning>,
    effort: String,
) -> Result<Option<Think>, RequestError> {
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
        ))
        .about("reasoning_effort", "invalid_value")),
    }
}
