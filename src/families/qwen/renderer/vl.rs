//! Qwen 3 VL: tools and calls as JSON, images.

use super::tool_response;
use crate::chat::Message;
use crate::chat::typed::Spelling;
use crate::families::shared::prompt::{arguments_json, last_question, thinks, tools};
use crate::json::spaced;
use crate::renderer::images::Images;
use crate::renderer::{RenderError, RenderInput};

pub(in crate::families) fn instruct(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(render(input, thinks(input, false)))
}

pub(in crate::families) fn thinking(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(render(input, thinks(input, true)))
}

fn render(input: &RenderInput<'_>, thinks: bool) -> String {
    let messages = input.messages;
    let mut text = String::new();
    let system = messages.first().filter(|message| message.role == "system");
    let tools = tools(input);
    if !tools.is_empty() {
        text += "<|im_start|>system\n";
        if let Some(system) = system {
            text += &format!("{}\n\n", system.content);
        }
        text += "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>";
        for tool in &tools {
            text += &format!("\n{}", spaced(&tool.json(Spelling::Escaped)));
        }
        text += "\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n";
    } else if let Some(system) = system {
        text += &format!("<|im_start|>system\n{}<|im_end|>\n", system.content);
    }
    let last_question = last_question(messages, false);
    let mut images = Images::default();
    for (index, message) in messages.iter().enumerate() {
        let content = images.tag(message, &message.content);
        let is_last = index + 1 == messages.len();
        let is_prefill = is_last && message.role == "assistant";
        match message.role.as_str() {
            "user" => text += &format!("<|im_start|>user\n{content}<|im_end|>\n"),
            "system" if index > 0 => {
                text += &format!("<|im_start|>system\n{content}<|im_end|>\n");
            }
            "assistant" => {
                let shown =
                    thinks && index > last_question && (is_last || !message.thinking.is_empty());
                let thinking = shown.then(|| message.thinking.trim_matches('\n'));
                assistant(message, &content, thinking, &mut text);
                if !is_prefill {
                    text += "<|im_end|>\n";
                }
            }
            "tool" => tool_response(messages, index, &content, &mut text),
            _ => {}
        }
        if is_last && !is_prefill {
            text += "<|im_start|>assistant\n";
            if thinks {
                text += "<think>\n";
            }
        }
    }
    text
}

fn assistant(message: &Message, content: &str, thinking: Option<&str>, text: &mut String) {
    *text += "<|im_start|>assistant\n";
    if let Some(thinking) = thinking {
        *text += &format!("<think>\n{thinking}");
        if !content.is_empty() {
            *text += &format!("\n</think>\n\n{}", content.trim_start_matches('\n'));
        }
    } else {
        *text += content;
    }
    for (number, call) in message.tool_calls.iter().enumerate() {
        if number > 0 || !content.is_empty() {
            *text += "\n";
        }
        *text += &format!(
            "<tool_call>\n{{\"name\": \"{}\", \"arguments\": {}}}\n</tool_call>",
            call.function.name,
            spaced(&arguments_json(&call.function.arguments))
        );
    }
}
