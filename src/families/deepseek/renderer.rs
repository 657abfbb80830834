//! `DeepSeek` 3.1.

use crate::chat::Message;
use crate::chat::typed::{Spelling, TypedTool};
use crate::families::shared::prompt::{arguments_json, thinks, tools};
use crate::renderer::{RenderError, RenderInput};

const USAGE: &str = "\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>tool_call_arguments<｜tool▁call▁end｜>{{additional_tool_calls}}<｜tool▁calls▁end｜>\n\nWhere:\n\n- `tool_call_name` must be an exact match to one of the available tools\n- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n- For multiple tool calls, chain them directly without separators or spaces\n";

pub(super) fn render(input: &RenderInput<'_>) -> Result<String, RenderError> {
    let thinks = thinks(input, false);
    let messages = input.messages;
    let systems = messages.iter().filter(|message| message.role == "system");
    let systems: Vec<&str> = systems.map(|message| message.content.as_str()).collect();
    let mut text = format!("<｜begin▁of▁sentence｜>{}", systems.join("\n\n"));
    let tools = tools(input);
    if !tools.is_empty() {
        declare(&tools, &mut text);
    }
    let last_user = messages.iter().rposition(|message| message.role == "user");
    // What the previous message was.
    let (mut asked, mut after_tool) = (false, false);
    for (index, message) in messages.iter().enumerate() {
        match message.role.as_str() {
            "user" => {
                (asked, after_tool) = (true, false);
                text += &format!("<｜User｜>{}", message.content);
            }
            "assistant" if !message.tool_calls.is_empty() => {
                if asked {
                    text += "<｜Assistant｜></think>";
                }
                (asked, after_tool) = (false, false);
                calls(message, &mut text);
            }
            "assistant" => {
                if asked {
                    let is_current = last_user.is_none_or(|last| index > last);
                    let shows = thinks && is_current && !message.thinking.is_empty();
                    text += "<｜Assistant｜>";
                    text += if shows { "<think>" } else { "</think>" };
                }
                let content = message.content.as_str();
                // Thinking that a client has sent back within the answer. A text that only mentions the closing tag
                // stays as it is.
                let is_raw = !after_tool && content.starts_with("<think>");
                let answer = content.split_once("</think>").filter(|_| is_raw);
                let content = answer.map_or(content, |(_, answer)| answer);
                text += &format!("{content}<｜end▁of▁sentence｜>");
                (asked, after_tool) = (false, false);
            }
            "tool" => {
                (asked, after_tool) = (false, true);
                text += &format!(
                    "<｜tool▁output▁begin｜>{}<｜tool▁output▁end｜>",
                    message.content
                );
            }
            _ => {}
        }
    }
    if asked && !after_tool {
        text += "<｜Assistant｜>";
        text += if thinks { "<think>" } else { "</think>" };
    }
    Ok(text)
}

fn declare(tools: &[TypedTool], text: &mut String) {
    *text += "\n\n## Tools\nYou have access to the following tools:\n";
    for tool in tools {
        let function = &tool.function;
        *text += &format!(
            "\n### {}\nDescription: {}\n\nParameters: {}\n",
            function.name,
            function.description,
            function.parameters.json(Spelling::Escaped)
        );
    }
    *text += USAGE;
}

fn calls(message: &Message, text: &mut String) {
    *text += &message.content;
    *text += "<｜tool▁calls▁begin｜>";
    for call in &message.tool_calls {
        *text += &format!(
            "<｜tool▁call▁begin｜>{}<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
            call.function.name,
            arguments_json(&call.function.arguments)
        );
    }
    *text += "<｜tool▁calls▁end｜><｜end▁of▁sentence｜>";
}
