//! Messages of a request → native messages.
//!
//! Unlike in Ollama, the parts of one message stay one message: split, their tool results lose
//! their names and templates see several turns. Its parts are joined as a TEMPLATE there joins those
//! turns, by empty lines, and images keep their places among the texts.

use super::super::invalid;
use crate::api::openai::{Content, File, Message as Wire, Part, ToolCall as WireCall};
use crate::chat::{Image, Message, ToolCall, ToolCallFunction};
use crate::inference::InferenceError;
use crate::renderer::images::PLACE;

/// Converts a conversation.
pub(super) fn natives(messages: Vec<Wire>) -> Result<Vec<Message>, InferenceError> {
    let mut natives: Vec<Message> = Vec::with_capacity(messages.len());
    for (message, index) in messages.into_iter().zip(0..) {
        let native = native(message, &natives);
        let native = native.map_err(|error| match error.param {
            Some(_) => error,
            None => error.about(format!("messages[{index}]"), "invalid_value"),
        })?;
        natives.push(native);
    }
    Ok(natives)
}

fn native(message: Wire, earlier: &[Message]) -> Result<Message, InferenceError> {
    let has_calls = message.tool_calls.is_some() || message.function_call.is_some();
    let mut calls = message.tool_calls.unwrap_or_default();
    calls.extend(message.function_call.map(|function| WireCall {
        id: String::new(),
        function,
    }));
    let mut native = Message {
        role: role(&message.role),
        thinking: if message.reasoning.is_empty() {
            message.reasoning_content
        } else {
            message.reasoning
        },
        tool_calls: natives_of(calls)?,
        ..Message::default()
    };
    let wrong_type = |kind: &str| Err(invalid(format!("invalid message content type: {kind}")));
    match message.content {
        Content::Text(text) => native.content = text,
        Content::Parts(parts) => add_parts(&mut native, parts)?,
        Content::Absent if has_calls => {}
        Content::Absent => return wrong_type("<nil>"),
        Content::Bool => return wrong_type("bool"),
        Content::Number => return wrong_type("float64"),
        Content::Object => return wrong_type("map[string]interface {}"),
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

/// `developer` is OpenAI's newer word for `system`, `function` the older one for `tool`; few templates
/// know them.
fn role(role: &str) -> String {
    match role.to_lowercase().as_str() {
        "developer" => "system".to_owned(),
        "function" => "tool".to_owned(),
        role => role.to_owned(),
    }
}

fn natives_of(calls: Vec<WireCall>) -> Result<Vec<ToolCall>, InferenceError> {
    let mut natives = Vec::with_capacity(calls.len());
    for (call, index) in calls.into_iter().zip(0..) {
        let arguments = call.function.arguments.0;
        let arguments = arguments.ok_or_else(|| invalid("invalid tool call arguments"))?;
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

fn add_parts(native: &mut Message, parts: Vec<Part>) -> Result<(), InferenceError> {
    let mut pieces = Vec::new();
    let mut has_text = false;
    for part in parts {
        let file = match part {
            Part::Text(text) if text.is_empty() => continue,
            Part::Text(text) => {
                has_text = true;
                pieces.push(text);
                continue;
            }
            Part::Image(file) => image(file)?,
            Part::Audio(file) => audio(file)?,
            Part::Bad => return Err(invalid("invalid message format")),
        };
        native.images.push(file);
        pieces.push(PLACE.to_owned());
    }
    if has_text {
        native.content = pieces.join("\n\n");
    }
    Ok(())
}

fn image(file: File) -> Result<Image, InferenceError> {
    match file {
        File::Data(image) => Ok(image),
        File::Remote => Err(invalid(
            "image URLs are not currently supported, please use base64 encoded data instead",
        )),
        File::Bad(_) => Err(invalid("invalid image input")),
        File::Missing | File::Misplaced => Err(invalid("invalid message format")),
    }
}

fn audio(file: File) -> Result<Image, InferenceError> {
    match file {
        File::Data(audio) => Ok(audio),
        File::Bad(error) => Err(invalid(format!("invalid input_audio base64 data: {error}"))),
        File::Missing => Err(invalid("invalid input_audio format: missing data")),
        File::Remote | File::Misplaced => Err(invalid("invalid input_audio format")),
    }
}
