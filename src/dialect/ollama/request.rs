//! Converts Ollama's requests to native ones. Errors have Ollama's texts, in Ollama's order.

use std::time::Duration;

use serde_json::Value;

use super::options::options;
use crate::api::ollama as api;
use crate::chat::{Think, Turn};
use crate::config::KeepAlive;
use crate::create;
use crate::error::{ErrorKind, RequestError};
use crate::inference::{ChatRequest, EmbedRequest, GenerateRequest, RequestOptions};
use crate::protocol::EmbedInput;
use crate::units::parse_go_duration;

/// Longer times are shortened to this, so that no clock overflows.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

const MOST_TOP_LOGPROBS: i64 = 20;

/// Converts a chat request of `client`.
///
/// # Errors
/// Bad `keep_alive`, `think` or `top_logprobs` (400).
pub fn chat(request: api::ChatRequest, client: String) -> Result<ChatRequest, RequestError> {
    let keep_alive = keep_alive(&request.keep_alive)?;
    let think = think(&request.think)?;
    let top_logprobs = top_logprobs(request.top_logprobs)?;
    let (options, deadline) = options(request.options)?;
    Ok(ChatRequest {
        common: RequestOptions {
            model: request.model,
            options,
            deadline,
            keep_alive,
            format: request.format,
            think,
            truncate: request.truncate,
            shift: request.shift,
            logprobs: request.logprobs,
            top_logprobs,
            debug_render_only: request.debug_render_only,
            client,
            ..RequestOptions::default()
        },
        messages: request.messages.into_iter().map(Turn::from).collect(),
        tools: request.tools,
        must_call: None,
        one_call: false,
    })
}

/// Converts a generate request of `client`.
///
/// # Errors
/// As [`chat`].
pub fn generate(
    request: api::GenerateRequest,
    client: String,
) -> Result<GenerateRequest, RequestError> {
    let keep_alive = keep_alive(&request.keep_alive)?;
    let think = think(&request.think)?;
    let top_logprobs = top_logprobs(request.top_logprobs)?;
    let (options, deadline) = options(request.options)?;
    let given = |text: String| (!text.is_empty()).then_some(text);
    Ok(GenerateRequest {
        common: RequestOptions {
            model: request.model,
            options,
            deadline,
            keep_alive,
            format: request.format,
            think,
            truncate: request.truncate,
            shift: request.shift,
            logprobs: request.logprobs,
            top_logprobs,
            debug_render_only: request.debug_render_only,
            client,
            ..RequestOptions::default()
        },
        prompt: request.prompt,
        suffix: request.suffix,
        system: given(request.system),
        template: given(request.template),
        context: request.context,
        raw: request.raw,
        images: request.images,
        ..GenerateRequest::default()
    })
}

/// Converts a request for embeddings; without any input it only loads the model.
///
/// # Errors
/// An input that is neither a text nor a list of texts, or a bad `keep_alive` (400).
pub fn embed(request: api::EmbedRequest, client: String) -> Result<EmbedRequest, RequestError> {
    let keep_alive = keep_alive(&request.keep_alive)?;
    let inputs = inputs(request.input).ok_or_else(|| invalid("invalid input type"))?;
    let (options, deadline) = options(request.options)?;
    Ok(EmbedRequest {
        common: RequestOptions {
            model: request.model,
            options,
            deadline,
            keep_alive,
            truncate: request.truncate,
            client,
            ..RequestOptions::default()
        },
        inputs: inputs.into_iter().map(EmbedInput::Text).collect(),
        dimensions: usize::try_from(request.dimensions).unwrap_or_default(),
        legacy: false,
    })
}

/// Converts a request for one embedding (`/api/embeddings`).
///
/// # Errors
/// A bad `keep_alive` (400).
pub fn embeddings(
    request: api::EmbeddingsRequest,
    client: String,
) -> Result<EmbedRequest, RequestError> {
    let keep_alive = keep_alive(&request.keep_alive)?;
    let (options, deadline) = options(request.options)?;
    let given = (!request.prompt.is_empty()).then_some(request.prompt);
    Ok(EmbedRequest {
        common: RequestOptions {
            model: request.model,
            options,
            deadline,
            keep_alive,
            client,
            ..RequestOptions::default()
        },
        inputs: given.into_iter().map(EmbedInput::Text).collect(),
        dimensions: 0,
        legacy: true,
    })
}

/// Converts a request of `create`.
pub fn create(request: api::CreateRequest) -> create::CreateRequest {
    let given = |text: String| (!text.is_empty()).then_some(text);
    create::CreateRequest {
        from: given(request.from),
        files: request.files,
        adapters: request.adapters,
        draft_files: request.draft_files,
        template: request.template,
        system: request.system,
        licenses: match request.license {
            None => Vec::new(),
            Some(api::StringOrList::One(text)) => given(text).into_iter().collect(),
            Some(api::StringOrList::Many(texts)) => texts,
        },
        parameters: request.parameters,
        messages: request.messages,
        quantize: given(request.quantize).unwrap_or(request.quantization),
        renderer: request.renderer,
        parser: request.parser,
        requires: request.requires,
        info: request.info,
    }
}

/// Reads a keep-alive: seconds or a Go duration; negative means forever.
///
/// # Errors
/// 400 with Go's text for other strings and types.
pub fn keep_alive(value: &Value) -> Result<Option<KeepAlive>, RequestError> {
    let seconds = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_f64().unwrap_or_default(),
        Value::String(text) => {
            let nanos = parse_go_duration(text).map_err(invalid)?;
            return Ok(Some(match u64::try_from(nanos) {
                Ok(nanos) => keep_for(Duration::from_nanos(nanos)),
                Err(_) => KeepAlive::Forever,
            }));
        }
        Value::Bool(_) => return Err(unsupported("bool")),
        Value::Array(_) => return Err(unsupported("[]interface {}")),
        Value::Object(_) => return Err(unsupported("map[string]interface {}")),
    };
    // Negative and huge numbers are not valid durations; both mean forever.
    Ok(Some(
        Duration::try_from_secs_f64(seconds).map_or(KeepAlive::Forever, keep_for),
    ))
}

fn keep_for(time: Duration) -> KeepAlive {
    if time > LONGEST {
        KeepAlive::Forever
    } else {
        KeepAlive::For(time)
    }
}

fn unsupported(kind: &str) -> RequestError {
    invalid(format!("Unsupported type: '{kind}'"))
}

fn think(value: &Value) -> Result<Option<Think>, RequestError> {
    Think::from_json(value).map_err(invalid)
}

fn top_logprobs(count: i64) -> Result<u32, RequestError> {
    u32::try_from(count)
        .ok()
        .filter(|_| count <= MOST_TOP_LOGPROBS)
        .ok_or_else(|| invalid("top_logprobs must be between 0 and 20"))
}

fn inputs(input: Value) -> Option<Vec<String>> {
    match input {
        Value::Null => Some(Vec::new()),
        Value::String(text) if text.is_empty() => Some(Vec::new()),
        Value::String(text) => Some(vec![text]),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Some(text),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn invalid(message: impl Into<String>) -> RequestError {
    RequestError::new(ErrorKind::Invalid, message)
}
