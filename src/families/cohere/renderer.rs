//! Cohere's North and Command A. The white space is that of the original template, however odd.

use std::collections::HashMap;

use crate::chat::typed::{Spelling, TypedTool};
use crate::chat::{Message, ToolCall};
use crate::families::shared::prompt::{arguments_json, json, thinks, tools};
use crate::json::spaced;
use crate::renderer::{RenderError, RenderInput};

pub(super) fn render(input: &RenderInput<'_>) -> Result<String, RenderError> {
    let thinks = thinks(input, true);
    let first = input
        .messages
        .first()
        .filter(|message| message.role == "system");
    let messages = &input.messages[usize::from(first.is_some())..];
    let mut text = "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|><|START_TEXT|>".to_owned();
    if let Some(system) = first.filter(|message| !message.content.is_empty()) {
        text += &format!("{}\n\n\n\n", system.content);
    }
    declare(&tools(input), &mut text);
    text += "<|END_TEXT|><|END_OF_TURN_TOKEN|>";
    let mut ids = CallIds::default();
    let mut is_continued = false;
    for (index, message) in messages.iter().enumerate() {
        let content = &message.content;
        match message.role.as_str() {
            role @ ("system" | "user") => {
                let token = role.to_uppercase();
                text += &format!(
                    "<|START_OF_TURN_TOKEN|><|{token}_TOKEN|><|START_TEXT|>{content}<|END_TEXT|><|END_OF_TURN_TOKEN|>"
                );
            }
            "assistant" | "chatbot" => {
                text += "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>";
                if !message.tool_calls.is_empty() {
                    text += "\n            \n                ";
                }
                if !message.thinking.is_empty() {
                    text += &format!("<|START_THINKING|>{}<|END_THINKING|>", message.thinking);
                }
                if message.tool_calls.is_empty() {
                    text += &format!("<|START_TEXT|>{content}");
                    is_continued = index + 1 == messages.len();
                    if !is_continued {
                        text += "<|END_TEXT|><|END_OF_TURN_TOKEN|>";
                    }
                } else {
                    actions(message, &mut ids, &mut text);
                }
            }
            // Consecutive results form one list, written with the first of them.
            "tool" if index == 0 || messages[index - 1].role != "tool" => {
                let results = messages[index..]
                    .iter()
                    .take_while(|next| next.role == "tool");
                let results: Vec<String> = results.map(|next| result(next, &ids)).collect();
                text += &format!(
                    "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|><|START_TOOL_RESULT|>[{}\n\n]<|END_TOOL_RESULT|><|END_OF_TURN_TOKEN|>",
                    results.join(",")
                );
            }
            _ => {}
        }
    }
    if !is_continued {
        text += "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_THINKING|>";
        if !thinks {
            text += "<|END_THINKING|>";
        }
    }
    Ok(text)
}

/// Calls are numbered over the whole conversation.
#[derive(Debug, Default)]
struct CallIds {
    n_calls: usize,
    by_id: HashMap<String, String>,
}

impl CallIds {
    fn add(&mut self, call: &ToolCall) -> String {
        let number = self.n_calls.to_string();
        self.n_calls += 1;
        if !call.id.is_empty() {
            let known = self.by_id.entry(call.id.clone());
            known.or_insert_with(|| number.clone());
        }
        number
    }

    fn of_result<'a>(&'a self, message: &'a Message) -> &'a str {
        let id = &message.tool_call_id;
        self.by_id.get(id).unwrap_or(id)
    }
}

fn actions(message: &Message, ids: &mut CallIds, text: &mut String) {
    let calls = message.tool_calls.iter().map(|call| {
        format!(
            "\n\n    {{\"tool_call_id\": \"{}\", \"tool_name\": \"{}\", \"parameters\": {}}}",
            ids.add(call),
            call.function.name,
            spaced(&arguments_json(&call.function.arguments))
        )
    });
    let calls: Vec<String> = calls.collect();
    *text += &format!(
        "<|START_ACTION|>[{}\n\n]<|END_ACTION|><|END_OF_TURN_TOKEN|>",
        calls.join(",")
    );
}

fn result(message: &Message, ids: &CallIds) -> String {
    let content = spaced(&json(&serde_json::json!({ "content": message.content })));
    format!(
        "\n    {{\n        \"tool_call_id\": \"{}\",\n        \"results\": {{\n\n            \n            \"0\": {content}\n\n        }},\n        \"is_error\": null\n    }}",
        ids.of_result(message)
    )
}

fn declare(tools: &[TypedTool], text: &mut String) {
    *text += "# Available Tools\n```json\n[\n";
    if tools.is_empty() {
        *text += "\n\n";
    }
    for (index, tool) in tools.iter().enumerate() {
        let function = &tool.function;
        let comma = if index + 1 < tools.len() { "," } else { "" };
        *text += &format!(
            "\n    {{\"name\": {}, \"description\": {}, \"parameters\": {}, \"responses\": null}}{comma}\n\n",
            json(&function.name.as_str().into()),
            json(&function.description.as_str().into()),
            spaced(&function.parameters.json(Spelling::Escaped))
        );
    }
    *text += "\n]\n```";
}
