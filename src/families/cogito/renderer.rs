//! Cogito: `DeepSeek`'s tokens, with JSON in fences.

use crate::chat::typed::Spelling;
use crate::families::shared::prompt::{arguments_json, leading_system, role_at, thinks, tools};
use crate::json::indented;
use crate::renderer::{RenderError, RenderInput};

const SYSTEM: &str = "You are Cogito, an AI assistant created by Deep Cogito, which is an AI research lab based in San Francisco.";

pub(super) fn render(input: &RenderInput<'_>) -> Result<String, RenderError> {
    let thinks = thinks(input, false);
    let (system, messages) = leading_system(input.messages, &["system"]);
    let system = system.unwrap_or_default();
    let mut text = "<｜begin▁of▁sentence｜>".to_owned();
    if thinks {
        text += "Enable deep thinking subroutine.\n\n";
    }
    text += SYSTEM;
    if !system.is_empty() {
        text += &format!("\n\n{system}");
        if thinks {
            text += "\n\n";
        }
    }
    let tools = tools(input);
    if !tools.is_empty() {
        text += "\nYou have the following functions available:\n";
        for tool in &tools {
            let json = indented(&tool.json(Spelling::Escaped), 4);
            text += &format!("```json\n{json}\n```\n");
        }
    }
    let mut asks = false;
    for (index, message) in messages.iter().enumerate() {
        match message.role.as_str() {
            "user" => {
                asks = true;
                text += &format!("<｜User｜>{}<｜Assistant｜>", message.content);
            }
            "assistant" => {
                asks = false;
                text += &message.content;
                if !message.tool_calls.is_empty() {
                    let calls = message.tool_calls.iter().map(|call| {
                        format!(
                            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{}\n```json\n{}\n```<｜tool▁call▁end｜>",
                            call.function.name,
                            arguments_json(&call.function.arguments)
                        )
                    });
                    let calls = calls.collect::<Vec<_>>().join("\n");
                    text += &format!("<｜tool▁calls▁begin｜>{calls}<｜tool▁calls▁end｜>");
                }
                text += "<｜end▁of▁sentence｜>";
            }
            "tool" => {
                asks = false;
                if role_at(messages, index.checked_sub(1)) != "tool" {
                    text += "<｜tool▁outputs▁begin｜>";
                }
                text += &format!(
                    "<｜tool▁output▁begin｜>{}<｜tool▁output▁end｜>",
                    message.content
                );
                text += if role_at(messages, Some(index + 1)) == "tool" {
                    "\n"
                } else {
                    "<｜tool▁outputs▁end｜>"
                };
            }
            _ => {}
        }
    }
    if !asks {
        text += "<｜Assistant｜>";
    }
    if thinks {
        text += "<think>\n";
    }
    Ok(text)
}
