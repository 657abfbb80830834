//! Messages of a request → native messages.
//!
//! Unlike Ollama, the parts of one message stay one message: split, their tool results lose
//! their names and templates see several turns.

use serde_json::Value;

use super::super::invalid;
use super::super::values::go_type;
use crate::api::openai::{Message as Wire, ToolCall as WireCall};
use crate::chat::{Image, Message, ToolCall, ToolCallFunction};
use crate::inference::InferenceError;

/// Media types of data addresses that are images.
const IMAGE_PREFIXES: [&str; 5] = [
    "data:image/jpeg;base64,",
    "data:image/jpg;base64,",
    "data:image/png;base64,",
    "data:image/webp;base64,",
    "data:;base64,",
];

/// Converts a conversation.
pub(super) fn natives(messages: Vec<Wire>) -> Result<Vec<Message>, InferenceError> {
    let mut natives: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        let native = native(message, &natives)?;
        natives.push(native);
    }
    Ok(natives)
}

fn native(message: Wire, earlier: &[Message]) -> Result<Message, InferenceError> {
    let has_calls = message.tool_calls.is_some();
    let mut native = Message {
        role: role(&message.role),
        thinking: if message.reasoning.is_empty() {
            message.reasoning_content
        } else {
            message.reasoning
        },
        tool_calls: calls(message.tool_calls.unwrap_or_default())?,
        ..Message::default()
    };
    match message.content {
        Value::String(text) => native.content = text,
        Value::Array(parts) => {
            for part in parts {
                add_part(&mut native, &part)?;
            }
        }
        Value::Null if has_calls => {}
        other => {
            return Err(invalid(format!(
                "invalid message content type: {}",
                go_type(&other)
            )));
        }
    }
    if native.role == "tool" {
        native.tool_name = if message.name.is_empty() {
            name_of_call(&message.tool_call_id, earlier)
        } else {
            message.name
        };
        native.tool_call_id = message.tool_call_id;
    }
    Ok(native)
}

/// `developer` is OpenAI's newer word for `system`; few templates know it.
fn role(role: &str) -> String {
    match role.to_lowercase().as_str() {
        "developer" => "system".to_owned(),
        role => role.to_owned(),
    }
}

fn calls(calls: Vec<WireCall>) -> Result<Vec<ToolCall>, InferenceError> {
    let mut natives = Vec::with_capacity(calls.len());
    for (call, index) in calls.into_iter().zip(0..) {
        let arguments = call.function.arguments;
        // Clients send a call without arguments as an empty text, too.
        let arguments = if arguments.is_empty() {
            serde_json::Map::new()
        } else {
            serde_json::from_str(&arguments).map_err(|_| invalid("invalid tool call arguments"))?
        };
        natives.push(ToolCall {
            id: call.id,
            function: ToolCallFunction {
                index,
                name: call.function.name,
                arguments,
            },
        });
    }
    Ok(natives)
}

/// The function that the last call with this id called.
fn name_of_call(id: &str, earlier: &[Message]) -> String {
    earlier
        .iter()
        .rev()
        .flat_map(|message| &message.tool_calls)
        .find(|call| !id.is_empty() && call.id == id)
        .map(|call| call.function.name.clone())
        .unwrap_or_default()
}

fn add_part(native: &mut Message, part: &Value) -> Result<(), InferenceError> {
    match part["type"].as_str() {
        Some("text") => {
            let text = part["text"].as_str();
            let text = text.ok_or_else(|| invalid("invalid message format"))?;
            if !native.content.is_empty() {
                native.content.push('\n');
            }
            native.content.push_str(text);
        }
        Some("image_url") => native.images.push(image(&part["image_url"])?),
        Some("input_audio") => native.images.push(audio(&part["input_audio"])?),
        _ => return Err(invalid("invalid message format")),
    }
    Ok(())
}

/// An image is an address in an object, or the address itself.
fn image(value: &Value) -> Result<Image, InferenceError> {
    let url = value.as_str().or_else(|| value["url"].as_str());
    let url = url.ok_or_else(|| invalid("invalid message format"))?;
    if url.starts_with("http://") || url.starts_with("https://") {
        return Err(invalid(
            "image URLs are not currently supported, please use base64 encoded data instead",
        ));
    }
    IMAGE_PREFIXES
        .iter()
        .find_map(|prefix| url.strip_prefix(prefix))
        .and_then(|data| Image::from_base64(data).ok())
        .ok_or_else(|| invalid("invalid image input"))
}

fn audio(value: &Value) -> Result<Image, InferenceError> {
    if !value.is_object() {
        return Err(invalid("invalid input_audio format"));
    }
    let data = value["data"].as_str().filter(|data| !data.is_empty());
    let data = data.ok_or_else(|| invalid("invalid input_audio format: missing data"))?;
    Image::from_base64(data)
        .map_err(|error| invalid(format!("invalid input_audio base64 data: {error}")))
}
