//! Olmo 3: tools as a JSON array, calls as Python; and its thinking models, without tools.

use crate::chat::Message;
use crate::chat::typed::Spelling;
use crate::families::shared::prompt::{json, tools};
use crate::json::{go, spaced};
use crate::renderer::{RenderError, RenderInput};

const SYSTEM: &str = "You are a helpful function-calling AI assistant. ";
const SYSTEM_31: &str = "You are Olmo, a helpful AI assistant built by Ai2. Your date cutoff is December 2024, and your model weights are available at https://huggingface.co/allenai. ";
const NO_FUNCTIONS: &str = "You do not currently have access to any functions. ";
const FUNCTIONS: &str = "You are provided with function signatures within <functions></functions> XML tags. You may call one or more functions to assist with the user query. Output any function calls within <function_calls></function_calls> XML tags. Do not make assumptions about what values to plug into functions.";
const SYSTEM_THINK_32B: &str = "You are a helpful AI assistant.";
const SYSTEM_THINK: &str = "You are Olmo, a helpful AI assistant built by Ai2. Your date cutoff is December 2024, and your model weights are available at https://huggingface.co/allenai.";
const NO_FUNCTIONS_THINK: &str =
    " You do not currently have access to any functions. <functions></functions>";

pub(super) fn olmo3(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(instruct(input, SYSTEM))
}

pub(super) fn olmo31(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(instruct(input, SYSTEM_31))
}

pub(super) fn think(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(thinking(input, SYSTEM_THINK))
}

pub(super) fn think_32b(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(thinking(input, SYSTEM_THINK_32B))
}

/// The first system message; later ones are left out.
fn system(messages: &[Message]) -> Option<&str> {
    let found = messages.iter().find(|message| message.role == "system");
    found.map(|message| message.content.as_str())
}

fn instruct(input: &RenderInput<'_>, default: &str) -> String {
    let tools = tools(input);
    let list: Vec<String> = tools
        .iter()
        .map(|tool| tool.json(Spelling::Escaped))
        .collect();
    let functions = spaced(&format!("[{}]", list.join(",")));
    let mut text = "<|im_start|>system\n".to_owned();
    match (system(input.messages), tools.is_empty()) {
        (Some(system), true) => text += system,
        (Some(system), false) => text += &format!("{system}<functions>{functions}</functions>"),
        (None, true) => text += &format!("{default}{NO_FUNCTIONS}<functions></functions>"),
        (None, false) => {
            text += &format!("{default}{FUNCTIONS}<functions>{functions}</functions>");
        }
    }
    text += "<|im_end|>\n";
    let messages = input
        .messages
        .iter()
        .filter(|message| message.role != "system");
    let messages: Vec<&Message> = messages.collect();
    for (index, message) in messages.iter().enumerate() {
        let is_last = index + 1 == messages.len();
        match message.role.as_str() {
            "user" => text += &format!("<|im_start|>user\n{}<|im_end|>\n", message.content),
            "tool" => {
                text += &format!("<|im_start|>environment\n{}<|im_end|>\n", message.content);
            }
            "assistant" => {
                text += &format!("<|im_start|>assistant\n{}", message.content);
                calls(message, &mut text);
                if !is_last || !message.tool_calls.is_empty() {
                    text += "<|im_end|>\n";
                }
            }
            _ => {}
        }
    }
    let is_continued = messages.last().is_some_and(|last| {
        last.role == "assistant" && last.tool_calls.is_empty() && !last.content.is_empty()
    });
    if !is_continued {
        text += "<|im_start|>assistant\n";
    }
    text
}

fn calls(message: &Message, text: &mut String) {
    if message.tool_calls.is_empty() {
        return;
    }
    let calls = message.tool_calls.iter().map(|call| {
        let arguments = go::sorted(&call.function.arguments);
        let arguments = arguments
            .iter()
            .map(|(key, value)| format!("{key}={}", json(value)));
        let arguments: Vec<String> = arguments.collect();
        format!("{}({})", call.function.name, arguments.join(", "))
    });
    let calls: Vec<String> = calls.collect();
    *text += &format!("<function_calls>{}</function_calls>", calls.join("\n"));
}

fn thinking(input: &RenderInput<'_>, default: &str) -> String {
    let mut text = "<|im_start|>system\n".to_owned();
    match system(input.messages) {
        Some(system) => text += &format!("{system}{NO_FUNCTIONS_THINK}"),
        None => text += default,
    }
    text += "<|im_end|>\n";
    for message in input.messages {
        if matches!(message.role.as_str(), "user" | "assistant") {
            let Message { role, content, .. } = message;
            text += &format!("<|im_start|>{role}\n{content}<|im_end|>\n");
        }
    }
    text + "<|im_start|>assistant\n<think>"
}
