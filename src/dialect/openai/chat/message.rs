//! Converts the messages of a request to turns.
//!
//! Unlike in Ollama, the parts of one message stay one turn: if they were split, tool results would lose their names
//! and templates would get several turns.

use super::super::invalid;
use crate::api::openai::{Content, File, Message as Wire, Part, ToolCall as WireCall};
use crate::chat::{Block, Image, ToolCall, ToolCallFunction, ToolResult, Turn};
use crate::dialect::called::Called;
use crate::error::RequestError;

/// Converts a conversation.
pub(super) fn turns(messages: Vec<Wire>) -> Result<Vec<Turn>, RequestError> {
    let mut turns: Vec<Turn> = Vec::with_capacity(messages.len());
    let mut called = Called::default();
    for (message, index) in messages.into_iter().zip(0..) {
        let turn = turn(message, &called);
        let turn = turn.map_err(|error| match error.param {
            Some(_) => error,
            None => error.about(format!("messages[{index}]"), "invalid_value"),
        })?;
        called.note_turn(&turn);
        turns.push(turn);
    }
    Ok(turns)
}

fn turn(message: Wire, called: &Called) -> Result<Turn, RequestError> {
    let has_calls = message.tool_calls.is_some() || message.function_call.is_some();
    let mut calls = message.tool_calls.unwrap_or_default();
    calls.extend(message.function_call.map(|function| WireCall {
        id: String::new(),
        function,
    }));
    let role = role(&message.role);
    let thinking = if message.reasoning.is_empty() {
        message.reasoning_content
    } else {
        message.reasoning
    };
    let calls = natives_of(calls)?;
    let wrong_type = |kind: &str| Err(invalid(format!("invalid message content type: {kind}")));
    let content = match message.content {
        Content::Text(text) => vec![Block::Text(text)],
        Content::Parts(parts) => blocks(parts)?,
        Content::Absent if has_calls => Vec::new(),
        Content::Absent => return wrong_type("<nil>"),
        Content::Bool => return wrong_type("bool"),
        Content::Number => return wrong_type("float64"),
        Content::Object => return wrong_type("map[string]interface {}"),
    };
    let mut blocks = Vec::new();
    if !thinking.is_empty() {
        blocks.push(Block::Thinking {
            text: thinking,
            signature: String::new(),
        });
    }
    if role == "tool" {
        let tool_name = if message.name.is_empty() {
            called.name_of(&message.tool_call_id)
        } else {
            message.name
        };
        blocks.push(Block::ToolResult(ToolResult {
            call_id: message.tool_call_id,
            tool_name,
            content,
            is_error: false,
        }));
    } else {
        blocks.extend(content);
    }
    blocks.extend(calls.into_iter().map(Block::ToolUse));
    Ok(Turn {
        role,
        blocks,
        ..Turn::default()
    })
}

/// `developer` is OpenAI's newer name for `system`, `function` the older one for `tool`; few templates
/// support them.
fn role(role: &str) -> String {
    match role.to_lowercase().as_str() {
        "developer" => "system".to_owned(),
        "function" => "tool".to_owned(),
        role => role.to_owned(),
    }
}

fn natives_of(calls: Vec<WireCall>) -> Result<Vec<ToolCall>, RequestError> {
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

fn blocks(parts: Vec<Part>) -> Result<Vec<Block>, RequestError> {
    let blocks = parts.into_iter().map(|part| match part {
        Part::Text(text) => Ok(Block::Text(text)),
        Part::Image(file) => image(file).map(Block::Image),
        Part::Audio(file) => audio(file).map(Block::Audio),
        Part::Bad => Err(invalid("invalid message format")),
    });
    blocks.collect()
}

pub(in crate::dialect::openai) fn image(file: File) -> Result<Image, RequestError> {
    match file {
        File::Data(image) => Ok(image),
        File::Remote => Err(invalid(
            "image URLs are not currently supported, please use base64 encoded data instead",
        )),
        File::Bad(_) => Err(invalid("invalid image input")),
        File::Missing | File::Misplaced => Err(invalid("invalid message format")),
    }
}

pub(in crate::dialect::openai) fn audio(file: File) -> Result<Image, RequestError> {
    match file {
        File::Data(audio) => Ok(audio),
        File::Bad(error) => Err(invalid(format!("invalid input_audio base64 data: {error}"))),
        File::Missing => Err(invalid("invalid input_audio format: missing data")),
        File::Remote | File::Misplaced => Err(invalid("invalid input_audio format")),
    }
}
