//! Converts a request.

use serde_json::Value;

use super::turns::Conversation;
use super::{Head, invalid, tools};
use crate::api::anthropic::{MessagesRequest, OutputConfig, OutputFormat, Thinking};
use crate::chat::{Think, ThinkLevel};
use crate::error::{ErrorKind, RequestError};
use crate::inference::{ChatRequest, RequestOptions};
use crate::model::options::{OptionPatch, narrow, single};

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Answer,
    /// Only its tokens are counted: it needs no `max_tokens`.
    Count,
}

/// Converts a request to a native one, and to what its answer needs; the head has no id yet.
///
/// A model that does not think ignores a request to think, as in Ollama.
///
/// # Errors
/// Refuses what Ollama and Anthropic refuse.
pub fn request(
    wire: MessagesRequest,
    purpose: Purpose,
) -> Result<(ChatRequest, Head), RequestError> {
    let refused = |message: &str| RequestError::new(ErrorKind::Invalid, message);
    if wire.model.is_empty() {
        return Err(refused("model is required"));
    }
    if purpose == Purpose::Answer && wire.max_tokens.is_none_or(|most| most < 1) {
        return Err(refused("max_tokens is required and must be positive"));
    }
    if wire.messages.is_empty() {
        return Err(refused("messages is required"));
    }
    let options = options(&wire)?;
    let thinking = wire.thinking.unwrap_or_default();
    let output = wire.output_config.unwrap_or_default();
    let think = think(&thinking, &output)?;
    let conversation = Conversation::new(wire.system, wire.messages)?;
    let offer = tools::offer(wire.tools, wire.tool_choice, &conversation.referenced)?;
    let head = Head {
        id: String::new(),
        model: wire.model.clone(),
        hides_thinking: thinking.display == "omitted",
    };
    let native = ChatRequest {
        messages: conversation.into_turns(),
        tools: offer.tools,
        must_call: offer.must_call,
        one_call: offer.one_call,
        common: RequestOptions {
            model: wire.model,
            options,
            format: format(output.format.or(wire.output_format))?,
            think,
            think_budget: budget(&thinking),
            thinks_if_able: true,
            ..RequestOptions::default()
        },
    };
    Ok((native, head))
}

fn options(wire: &MessagesRequest) -> Result<OptionPatch, RequestError> {
    let within = |name: &str, value: Option<f64>, most: f64| match value {
        Some(value) if !(0.0..=most).contains(&value) => {
            Err(invalid(name, format!("must be between 0 and {most}")))
        }
        value => Ok(value.map(single)),
    };
    let stops = &wire.stop_sequences;
    Ok(OptionPatch {
        temperature: within("temperature", wire.temperature, 2.0)?,
        top_p: within("top_p", wire.top_p, 1.0)?,
        top_k: wire.top_k.map(narrow),
        num_predict: wire.max_tokens,
        stop: (!stops.is_empty()).then(|| stops.clone()),
        ..OptionPatch::default()
    })
}

/// `None` without either field: the model's own default applies.
fn think(thinking: &Thinking, output: &OutputConfig) -> Result<Option<Think>, RequestError> {
    let effort = match output.effort.as_str() {
        "" => None,
        "low" => Some(ThinkLevel::Low),
        "medium" => Some(ThinkLevel::Medium),
        "high" | "xhigh" => Some(ThinkLevel::High),
        "max" => Some(ThinkLevel::Max),
        _ => {
            let what = "Input should be 'low', 'medium', 'high', 'xhigh' or 'max'";
            return Err(invalid("output_config.effort", what));
        }
    };
    Ok(match thinking.kind.as_str() {
        "disabled" => Some(Think::Off),
        "enabled" | "adaptive" | "between_tools" => Some(effort.map_or(Think::On, Think::Level)),
        _ => effort.map(Think::Level),
    })
}

fn budget(thinking: &Thinking) -> Option<u32> {
    let n_tokens = thinking
        .budget_tokens
        .filter(|_| thinking.kind == "enabled")?;
    u32::try_from(n_tokens).ok()
}

fn format(format: Option<OutputFormat>) -> Result<Value, RequestError> {
    let Some(format) = format else {
        return Ok(Value::Null);
    };
    match (format.kind.as_str(), format.schema) {
        ("json_schema", schema @ Value::Object(_)) => Ok(schema),
        ("json_schema", _) => Err(invalid(
            "output_config.format.schema",
            "Input should be a JSON Schema",
        )),
        _ => Err(invalid(
            "output_config.format.type",
            "Input should be 'json_schema'",
        )),
    }
}
