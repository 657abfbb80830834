//! Converts a request and its known history to a native request and a response without output.

use serde_json::{Map, Value, json};

use super::super::chat::{priority, service_tier, think};
use super::super::check::{decimal, integer, missing, unknown, wrong_type};
use super::super::stored::metadata;
use super::items::{listed, referenced, with_ids};
use super::step::Ending;
use super::turns::Turns;
use super::writer::Style;
use super::{COMPACT, SUMMARY, invalid, stored, tools};
use crate::api::openai::responses::{
    CompactRequest, Compacted, Compaction, ConversationId, OutputItem, Reasoning, Response,
    ResponseRequest, Status, Text,
};
use crate::chat::{Think, Turn};
use crate::dialect::openai::Head;
use crate::error::RequestError;
use crate::inference::{ChatRequest, RequestOptions};
use crate::model::options::{OptionPatch, single};
use crate::seal::Seal;

const LOGPROBS: &str = "message.output_text.logprobs";
const ENCRYPTED: &str = "reasoning.encrypted_content";

/// How a request relates to stored objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub previous: Option<String>,
    pub conversation: Option<String>,
    /// Ids of the items that the request refers to.
    pub references: Vec<String>,
    /// Whether the response is stored.
    pub stores: bool,
}

impl State {
    /// Reads this from a request; `can_store` = the server stores responses.
    ///
    /// # Errors
    /// Refuses combinations that make no sense.
    pub fn of(request: &ResponseRequest, can_store: bool) -> Result<Self, RequestError> {
        let conversation = match &request.conversation {
            Value::Null => None,
            Value::String(id) => Some(id.clone()),
            Value::Object(fields) => {
                let id = fields.get("id").and_then(Value::as_str);
                Some(id.ok_or_else(|| missing("conversation.id"))?.to_owned())
            }
            other => return Err(wrong_type("conversation", "a string or an object", other)),
        };
        let previous = request.previous_response_id.clone();
        let previous = previous.filter(|id| !id.is_empty());
        if previous.is_some() && conversation.is_some() {
            let message = "'previous_response_id' and 'conversation' cannot both be given";
            return Err(
                invalid(message).about("previous_response_id", "mutually_exclusive_parameters")
            );
        }
        let stores = can_store && request.store.unwrap_or(true);
        if request.background && !stores {
            let message = "Responses in the background must be stored: 'store' must be true.";
            return Err(invalid(message).about("background", "invalid_value"));
        }
        Ok(Self {
            previous,
            conversation,
            references: referenced(&request.input),
            stores,
        })
    }
}

/// The stored objects that a request refers to.
#[derive(Debug, Default)]
pub struct Known {
    /// The items before the request's own, oldest first.
    pub past: Vec<String>,
    /// The items that the request refers to by id.
    pub referenced: Vec<(String, String)>,
}

/// The outcome of converting a request.
#[derive(Debug)]
pub struct Asked {
    pub native: ChatRequest,
    pub response: Response,
    pub style: Style,
    /// The request's own items.
    pub input: Vec<Value>,
}

/// Converts a request.
///
/// # Errors
/// Refuses values that OpenAI does not allow, and what cannot be done here.
pub fn read(
    request: ResponseRequest,
    state: &State,
    known: Known,
    head: Head,
    seal: &Seal,
) -> Result<Asked, RequestError> {
    check(&request)?;
    let input = own_items(request.input, &known, &head.id)?;
    let messages = messages(request.instructions.as_deref(), &known.past, &input, seal)?;
    let (offer, names) = tools::offer(
        &request.tools,
        &request.tool_choice,
        request.parallel_tool_calls,
    )?;
    let has = |what: &str| request.include.iter().any(|item| item == what);
    let text = request.text.unwrap_or_default();
    let reasoning = request.reasoning.unwrap_or_default();
    let truncates = request.truncation.as_deref() == Some("auto");
    let top_logprobs = request.top_logprobs.unwrap_or_default();
    // Tiers that mean nothing here count as the default tier.
    let tier = request.service_tier.as_deref().unwrap_or_default();
    let told_tier = service_tier(tier).unwrap_or("default");
    let native = ChatRequest {
        messages,
        tools: offer.tools,
        must_call: offer.must_call,
        one_call: offer.one_call,
        common: RequestOptions {
            model: request.model,
            options: OptionPatch {
                num_predict: request.max_output_tokens,
                temperature: Some(request.temperature.map_or(1.0, single)),
                top_p: request.top_p.map(single),
                ..OptionPatch::default()
            },
            format: format(&text)?,
            think: think_of(&reasoning)?,
            // Agents ask every model to think.
            thinks_if_able: true,
            truncate: Some(truncates),
            shift: Some(truncates),
            priority: priority(tier),
            logprobs: has(LOGPROBS),
            top_logprobs: u32::try_from(top_logprobs).unwrap_or_default(),
            ..RequestOptions::default()
        },
    };
    let summary = reasoning.summary.clone();
    let summary = summary.or_else(|| reasoning.generate_summary.clone());
    let style = Style {
        summarizes: summary.is_some(),
        seal: has(ENCRYPTED).then(|| seal.clone()),
        names,
    };
    let response = Response {
        id: head.id,
        object: "response".into(),
        created_at: head.created,
        completed_at: None,
        status: if request.background {
            Status::Queued
        } else {
            Status::InProgress
        },
        incomplete_details: None,
        model: head.model,
        previous_response_id: state.previous.clone(),
        conversation: state.conversation.clone().map(|id| ConversationId { id }),
        instructions: request.instructions,
        output: Vec::new(),
        error: None,
        tools: request.tools,
        tool_choice: match request.tool_choice {
            Value::Null => "auto".into(),
            choice => choice,
        },
        truncation: request.truncation.unwrap_or_else(|| "disabled".to_owned()),
        parallel_tool_calls: request.parallel_tool_calls.unwrap_or(true),
        text: echoed_text(text),
        top_p: request.top_p.unwrap_or(1.0),
        temperature: request.temperature.unwrap_or(1.0),
        top_logprobs,
        reasoning: json!({"effort": reasoning.effort, "summary": summary}),
        usage: None,
        max_output_tokens: request.max_output_tokens,
        max_tool_calls: request.max_tool_calls,
        store: state.stores,
        background: request.background,
        service_tier: told_tier.into(),
        metadata: metadata(request.metadata)?,
        user: request.user,
        safety_identifier: request.safety_identifier,
        prompt_cache_key: request.prompt_cache_key,
    };
    Ok(Asked {
        native,
        response,
        style,
        input,
    })
}

/// The whole conversation; empty if there is nothing to answer, and then the model is only loaded.
fn messages(
    instructions: Option<&str>,
    past: &[String],
    input: &[Value],
    seal: &Seal,
) -> Result<Vec<Turn>, RequestError> {
    if past.is_empty() && input.is_empty() {
        return Ok(Vec::new());
    }
    let mut turns = Turns::new(seal, instructions);
    add_all(&mut turns, past, input)?;
    Ok(turns.into_turns())
}

/// Converts a request to summarize a conversation.
///
/// # Errors
/// Refuses invalid items.
pub fn compact_request(
    request: CompactRequest,
    known: Known,
    id: &str,
    seal: &Seal,
) -> Result<ChatRequest, RequestError> {
    let input = own_items(request.input, &known, id)?;
    let mut turns = Turns::new(seal, request.instructions.as_deref());
    add_all(&mut turns, &known.past, &input)?;
    let mut messages = turns.into_turns();
    messages.push(Turn::text("user", COMPACT));
    Ok(ChatRequest {
        messages,
        common: RequestOptions {
            model: request.model,
            think: Some(Think::Off),
            ..RequestOptions::default()
        },
        ..ChatRequest::default()
    })
}

/// The summary of a conversation, as an answer.
pub fn compacted(id: String, now: i64, summary: &str, ending: &Ending, seal: &Seal) -> Compacted {
    let item = OutputItem::Compaction(Compaction {
        id: format!("cmp_{}", super::base_of(&id)),
        encrypted_content: seal.close(SUMMARY, summary.trim()),
    });
    Compacted {
        id,
        object: "response.compaction",
        created_at: now,
        output: vec![item],
        usage: ending.usage.unwrap_or_default(),
    }
}

/// Checks that items can be used in a conversation.
///
/// # Errors
/// Names the first one that cannot.
pub fn check_items(items: &[Value], seal: &Seal) -> Result<(), RequestError> {
    add_all(&mut Turns::new(seal, None), &[], items)
}

fn own_items(input: Value, known: &Known, id: &str) -> Result<Vec<Value>, RequestError> {
    let mut resolved = Map::new();
    for (id, text) in &known.referenced {
        resolved.insert(id.clone(), stored(text)?);
    }
    let is_empty_or_right = matches!(input, Value::Null | Value::String(_) | Value::Array(_));
    if !is_empty_or_right {
        let error = wrong_type("input", "a string or an array", &input);
        let message = format!("input must be a string or array: {}", error.message);
        return Err(invalid(message).about("input", "invalid_type"));
    }
    let items = listed(input, &mut resolved).unwrap_or_default();
    Ok(with_ids(items, id))
}

fn add_all(turns: &mut Turns<'_>, past: &[String], input: &[Value]) -> Result<(), RequestError> {
    for item in past {
        turns.add(&stored(item)?)?;
    }
    for (index, item) in input.iter().enumerate() {
        turns.add(item).map_err(|error| {
            let place = format!("input[{index}]");
            let message = format!("{place}: {}", error.message);
            invalid(message).about(place, error.code.unwrap_or("invalid_value"))
        })?;
    }
    Ok(())
}

/// Checks that need single fields only.
fn check(request: &ResponseRequest) -> Result<(), RequestError> {
    decimal("temperature", request.temperature, 0.0..=2.0)?;
    decimal("top_p", request.top_p, 0.0..=1.0)?;
    integer("max_output_tokens", request.max_output_tokens, 1..=i64::MAX)?;
    integer("max_tool_calls", request.max_tool_calls, 1..=i64::MAX)?;
    integer("top_logprobs", request.top_logprobs, 0..=20)?;
    match request.truncation.as_deref() {
        None | Some("auto" | "disabled") => {}
        Some(other) => return Err(unknown("truncation", other, "'auto' and 'disabled'")),
    }
    let verbosity = request
        .text
        .as_ref()
        .and_then(|text| text.verbosity.as_deref());
    match verbosity {
        None | Some("low" | "medium" | "high") => {}
        Some(other) => {
            return Err(unknown(
                "text.verbosity",
                other,
                "'low', 'medium', and 'high'",
            ));
        }
    }
    if !request.prompt.is_null() {
        let error = invalid("this server has no stored prompts");
        return Err(error.about("prompt", "unsupported_parameter"));
    }
    Ok(())
}

fn think_of(reasoning: &Reasoning) -> Result<Option<Think>, RequestError> {
    let effort = reasoning.effort.clone().unwrap_or_default();
    let think = think(None, effort);
    think.map_err(|error| error.about("reasoning.effort", "invalid_value"))
}

fn format(text: &Text) -> Result<Value, RequestError> {
    match text.format["type"].as_str() {
        Some("json_object") => Ok("json".into()),
        Some("json_schema") => match &text.format["schema"] {
            schema @ (Value::Null | Value::Object(_)) => Ok(schema.clone()),
            other => Err(wrong_type("text.format.schema", "an object", other)),
        },
        Some("text") => Ok(Value::Null),
        Some(other) => Err(unknown(
            "text.format.type",
            other,
            "'text', 'json_object', and 'json_schema'",
        )),
        None if text.format.is_null() => Ok(Value::Null),
        None => Err(missing("text.format.type")),
    }
}

fn echoed_text(text: Text) -> Value {
    let format = match text.format {
        Value::Null => json!({"type": "text"}),
        format => format,
    };
    match text.verbosity {
        Some(verbosity) => json!({"format": format, "verbosity": verbosity}),
        None => json!({"format": format}),
    }
}
