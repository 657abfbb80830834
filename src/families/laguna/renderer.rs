//! Laguna and Poolside: the same turns, with and without line feeds inside their tags.

use serde_json::Value;

use crate::chat::Message;
use crate::chat::typed::{Spelling, TypedTool};
use crate::families::shared::prompt::{json, leading_system, thinks, tools};
use crate::json::spaced;
use crate::renderer::{RenderError, RenderInput};

const SYSTEM: &str = "You are a helpful, conversationally-fluent assistant made by Poolside. You are here to be helpful to users through natural language conversations.";

const TOOLS: &str = "### Tools\n\nYou may call functions to assist with the user query.\nAll available function signatures are listed below:\n<available_tools>\n";

pub(super) fn laguna(input: &RenderInput<'_>) -> Result<String, RenderError> {
    let thinks = thinks(input, false);
    let (system, messages) = leading_system(input.messages, &["system"]);
    let system = system.unwrap_or(SYSTEM);
    let tools = tools(input);
    let mut text = "〈|EOS|〉".to_owned();
    if !system.trim().is_empty() || !tools.is_empty() {
        text += "<system>\n";
        if !system.trim().is_empty() {
            text += &format!("\n{}", system.trim_end());
        }
        if !tools.is_empty() {
            text += "\n\n";
            declare(&tools, &mut text);
            text += "\n\n";
            text += if thinks {
                "Wrap your thinking in '<think>', '</think>' tags, followed by a function call. For each function call, return an unescaped XML-like object with function name and arguments within '<tool_call>' and '</tool_call>' tags, like here:\n<think> your thoughts here </think>\n"
            } else {
                "For each function call, return an unescaped XML-like object with function name and arguments within '<tool_call>' and '</tool_call>' tags, like here:\n"
            };
            text += "<tool_call>function-name\n<arg_key>argument-key</arg_key>\n<arg_value>value-of-argument-key</arg_value>\n</tool_call>";
        }
        text += "\n</system>\n";
    }
    for (index, message) in messages.iter().enumerate() {
        let content = &message.content;
        match message.role.as_str() {
            "user" => text += &format!("<user>\n{content}\n</user>\n"),
            "system" => text += &format!("<system>\n{content}\n</system>\n"),
            "tool" => text += &format!("<tool_response>\n{content}\n</tool_response>\n"),
            "assistant" => answer(message, index + 1 == messages.len(), &mut text),
            _ => {}
        }
    }
    let continues = input
        .messages
        .last()
        .is_some_and(|last| last.role == "assistant");
    if !continues {
        text += "<assistant>\n";
        text += if thinks { "<think>" } else { "</think>" };
    }
    Ok(text)
}

fn answer(message: &Message, is_last: bool, text: &mut String) {
    let (content, reasoning) = split(message);
    let (content, reasoning) = (content.trim(), reasoning.trim());
    *text += "<assistant>\n";
    if !reasoning.is_empty() {
        *text += &format!("<think>\n{reasoning}\n");
    }
    *text += "</think>\n";
    if !content.is_empty() {
        *text += &format!("{content}\n");
    }
    for call in &message.tool_calls {
        *text += &format!("<tool_call>{}\n", call.function.name);
        for (key, value) in &call.function.arguments {
            *text += &format!(
                "<arg_key>{key}</arg_key>\n<arg_value>{}</arg_value>\n",
                argument(value)
            );
        }
        *text += "</tool_call>\n";
    }
    let is_empty = content.is_empty() && reasoning.is_empty() && message.tool_calls.is_empty();
    if !is_last || is_empty {
        *text += "</assistant>\n";
    }
}

/// Content and reasoning; the reasoning may be inside the content.
fn split(message: &Message) -> (&str, &str) {
    let content = message.content.as_str();
    let (Some((before, _)), Some((_, after))) = (
        content.split_once("</think>"),
        content.rsplit_once("</think>"),
    ) else {
        return (content, &message.thinking);
    };
    let reasoning = if message.thinking.is_empty() {
        let before = before.trim_end_matches('\n');
        let inside = before
            .rsplit_once("<think>")
            .map_or(before, |(_, inside)| inside);
        inside.trim_start_matches('\n')
    } else {
        &message.thinking
    };
    (after.trim_start_matches('\n'), reasoning)
}

pub(super) fn poolside(input: &RenderInput<'_>) -> Result<String, RenderError> {
    let thinks = thinks(input, false);
    let (system, messages) = leading_system(input.messages, &["system"]);
    let system = system.unwrap_or(SYSTEM);
    let has_system = !system.trim().is_empty();
    let tools = tools(input);
    let mut text = "〈|EOS|〉".to_owned();
    if has_system || !tools.is_empty() || thinks {
        text += "<system>";
        if has_system {
            text += system.trim_end();
            if !tools.is_empty() {
                text += "\n\n";
            }
        }
        if !tools.is_empty() {
            declare(&tools, &mut text);
        }
        text += "</system>\n";
    }
    for message in messages {
        let content = &message.content;
        match message.role.as_str() {
            "user" => text += &format!("<user>{content}</user>\n"),
            "system" => text += &format!("<system>{content}</system>\n"),
            "tool" => text += &format!("<tool_response>{content}</tool_response>\n"),
            "assistant" => {
                text += "<assistant>";
                if thinks {
                    text += &format!("<think>{}", message.thinking);
                }
                text += &format!("</think>{content}");
                for call in &message.tool_calls {
                    text += &format!("<tool_call>{}", call.function.name);
                    for (key, value) in &call.function.arguments {
                        text += &format!(
                            "<arg_key>{key}</arg_key><arg_value>{}</arg_value>",
                            argument(value)
                        );
                    }
                    text += "</tool_call>";
                }
                text += "</assistant>\n";
            }
            _ => {}
        }
    }
    text += "<assistant>";
    text += if thinks { "<think>" } else { "</think>" };
    Ok(text)
}

fn declare(tools: &[TypedTool], text: &mut String) {
    *text += TOOLS;
    for tool in tools {
        *text += &format!("{}\n", spaced(&tool.json(Spelling::Escaped)));
    }
    *text += "</available_tools>";
}

fn argument(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| spaced(&json(value)), str::to_owned)
}
