//! LFM 2: tools as a JSON list, calls as Python.

use crate::chat::typed::{Spelling, TypedTool};
use crate::chat::{Message, ToolCall};
use crate::families::shared::prompt::{leading_system, thinks, tools};
use crate::json::{go, spaced};
use crate::renderer::images::Images;
use crate::renderer::{RenderError, RenderInput};

const CALLS: &str = "<|tool_call_start|>";
const RESPONSE: &str = "<|tool_response_start|>";
const THINK_END: &str = "</think>";

pub(super) fn instruct(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(render(input, false))
}

pub(super) fn thinking(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(render(input, true))
}

fn render(input: &RenderInput<'_>, is_thinking: bool) -> String {
    let (system, messages) = leading_system(input.messages, &["system"]);
    let mut system = system.unwrap_or_default().to_owned();
    let tools = tools(input);
    if !tools.is_empty() {
        if !system.is_empty() {
            system += "\n";
        }
        let list: Vec<String> = tools.iter().map(schema).collect();
        system += &format!(
            "List of tools: <|tool_list_start|>[{}]<|tool_list_end|>",
            list.join(", ")
        );
    }
    let mut text = "<|startoftext|>".to_owned();
    if !system.is_empty() {
        text += &format!("<|im_start|>system\n{system}<|im_end|>\n");
    }
    let keeps_thinking = is_thinking && thinks(input, false);
    let last_answer = messages
        .iter()
        .rposition(|message| message.role == "assistant");
    let mut images = Images::default();
    if messages.len() < input.messages.len()
        && let Some(first) = input.messages.first()
    {
        // The images are counted, although they are not shown.
        images.tag(first, "");
    }
    for (index, message) in messages.iter().enumerate() {
        let mut content = images.tag(message, &message.content);
        match message.role.as_str() {
            "assistant" => {
                content = answer(message, content, is_thinking);
                let is_old = last_answer != Some(index);
                if is_old
                    && !keeps_thinking
                    && let Some((_, rest)) = content.rsplit_once(THINK_END)
                {
                    content = rest.trim().to_owned();
                }
            }
            "tool" if !content.contains(RESPONSE) => {
                content = format!("{RESPONSE}{content}<|tool_response_end|>");
            }
            _ => {}
        }
        text += &format!("<|im_start|>{}\n{content}", message.role);
        let is_prefill = index + 1 == messages.len() && message.role == "assistant";
        if !is_prefill {
            text += "<|im_end|>\n";
        }
    }
    let continues = input
        .messages
        .last()
        .is_some_and(|last| last.role == "assistant");
    if !continues {
        text += "<|im_start|>assistant\n";
    }
    text
}

/// Thinking, then calls, then content.
fn answer(message: &Message, content: String, is_thinking: bool) -> String {
    let mut content = content;
    if !message.tool_calls.is_empty() && !content.contains(CALLS) {
        let blank = if content.trim().is_empty() { "" } else { "\n" };
        content = format!("{}{blank}{content}", calls(&message.tool_calls));
    }
    if is_thinking && !message.thinking.is_empty() && !content.contains(THINK_END) {
        content = format!("<think>{}{THINK_END}{content}", message.thinking);
    }
    content
}

fn schema(tool: &TypedTool) -> String {
    spaced(&if tool.function.name.is_empty() {
        tool.json(Spelling::Plain)
    } else {
        tool.function.json(Spelling::Plain)
    })
}

fn calls(calls: &[ToolCall]) -> String {
    let calls = calls.iter().map(|call| {
        let arguments = go::sorted(&call.function.arguments);
        let arguments = arguments.iter().map(|(key, value)| {
            let value = go::to_string_plain(&go::sorted_value(value));
            format!("{key}={}", spaced(&value))
        });
        let arguments: Vec<String> = arguments.collect();
        format!("{}({})", call.function.name, arguments.join(","))
    });
    let calls: Vec<String> = calls.collect();
    format!("{CALLS}[{}]<|tool_call_end|>", calls.join(","))
}
