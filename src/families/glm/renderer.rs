//! GLM 4.7 and GLM OCR.

use serde_json::{Map, Value};

use crate::chat::Think;
use crate::chat::typed::{Spelling, TypedTool};
use crate::families::shared::prompt::{json, role_at, thinks, tools};
use crate::json::spaced;
use crate::renderer::images::Images;
use crate::renderer::{RenderError, RenderInput};

pub(super) fn glm47(input: &RenderInput<'_>) -> Result<String, RenderError> {
    let mut text = head(&tools(input));
    for (index, message) in input.messages.iter().enumerate() {
        let content = &message.content;
        match message.role.as_str() {
            "user" => text += &format!("<|user|>{content}"),
            "system" => text += &format!("<|system|>{content}"),
            "assistant" => {
                text += "<|assistant|>";
                if !message.thinking.is_empty() {
                    text += &format!("<think>{}", message.thinking);
                }
                text += &format!("</think>{content}");
                for call in &message.tool_calls {
                    text += &format!(
                        "<tool_call>{}{}</tool_call>",
                        call.function.name,
                        arguments(&call.function.arguments)
                    );
                }
            }
            "tool" => {
                if role_at(input.messages, index.checked_sub(1)) != "tool" {
                    text += "<|observation|>";
                }
                text += &format!("<tool_response>{content}</tool_response>");
            }
            _ => {}
        }
    }
    text += "<|assistant|>";
    text += if thinks(input, true) {
        "<think>"
    } else {
        "</think>"
    };
    Ok(text)
}

pub(super) fn ocr(input: &RenderInput<'_>) -> Result<String, RenderError> {
    let is_off = input.think == Some(Think::Off);
    let mut text = head(&tools(input));
    let mut images = Images::default();
    for (index, message) in input.messages.iter().enumerate() {
        match message.role.as_str() {
            "user" => {
                text += &format!("<|user|>\n{}", images.tag(message, &message.content));
                if is_off && !message.content.ends_with("/nothink") {
                    text += "/nothink";
                }
            }
            "system" => text += &format!("<|system|>\n{}\n", message.content),
            "assistant" => {
                text += &format!("<|assistant|>\n<think>{}</think>", message.thinking.trim());
                if !message.content.is_empty() {
                    text += &format!("\n{}", message.content.trim());
                }
                for call in &message.tool_calls {
                    text += &format!(
                        "\n<tool_call>{}{}</tool_call>",
                        call.function.name,
                        arguments(&call.function.arguments)
                    );
                }
                text += "\n";
            }
            "tool" => {
                if role_at(input.messages, index.checked_sub(1)) != "tool" {
                    text += "<|observation|>";
                }
                let content = images.tag(message, &message.content);
                text += &format!("\n<tool_response>\n{content}\n</tool_response>\n");
            }
            _ => {}
        }
    }
    text += "<|assistant|>\n";
    if is_off {
        text += "<think></think>\n";
    }
    Ok(text)
}

fn head(tools: &[TypedTool]) -> String {
    let mut text = "[gMASK]<sop>".to_owned();
    if tools.is_empty() {
        return text;
    }
    text += "<|system|>\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>\n";
    for tool in tools {
        text += &format!("{}\n", spaced(&tool.json(Spelling::Escaped)));
    }
    text + "</tools>\n\nFor each function call, output the function name and arguments within the following XML format:\n<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key><arg_value>{arg-value-1}</arg_value><arg_key>{arg-key-2}</arg_key><arg_value>{arg-value-2}</arg_value>...</tool_call>"
}

/// Pairs of key and value; strings as they are, everything else as JSON.
fn arguments(arguments: &Map<String, Value>) -> String {
    let pairs = arguments.iter().map(|(key, value)| {
        let value = value.as_str().map_or_else(|| json(value), str::to_owned);
        format!("<arg_key>{key}</arg_key><arg_value>{value}</arg_value>")
    });
    pairs.collect()
}
