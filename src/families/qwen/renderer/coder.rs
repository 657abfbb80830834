//! Qwen 3 Coder: tools and calls in XML.

use super::tool_response;
use crate::chat::typed::{Spelling, TypedParameters, TypedProperty, TypedTool, properties_json};
use crate::chat::{Message, ToolCall};
use crate::families::shared::prompt::{json, tools, value_text};
use crate::families::shared::xml::XML_CALLS;
use crate::renderer::{RenderError, RenderInput};

/// The system text if tools are offered without one.
const DEFAULT_SYSTEM: &str =
    "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks.";

pub(in crate::families) fn render(input: &RenderInput<'_>) -> Result<String, RenderError> {
    let is_system = |message: &&Message| message.role == "system";
    let mut systems = input.messages.iter().filter(is_system);
    let system = systems.find(|message| !message.content.is_empty());
    let system = system.map_or("", |message| message.content.as_str());
    let messages: Vec<Message> = input
        .messages
        .iter()
        .filter(|message| !is_system(message))
        .cloned()
        .collect();
    let tools = tools(input);
    let mut text = String::new();
    if !system.is_empty() || !tools.is_empty() {
        text += "<|im_start|>system\n";
        text += if system.is_empty() {
            DEFAULT_SYSTEM
        } else {
            system
        };
        if !tools.is_empty() {
            text += "\n\n# Tools\n\nYou have access to the following functions:\n\n<tools>";
            for tool in &tools {
                declare(tool, &mut text);
            }
            text += "\n</tools>";
            text += XML_CALLS;
        }
        text += "<|im_end|>\n";
    }
    for (index, message) in messages.iter().enumerate() {
        let is_last = index + 1 == messages.len();
        let is_prefill = is_last && message.role == "assistant";
        match message.role.as_str() {
            "assistant" if !message.tool_calls.is_empty() => {
                text += "<|im_start|>assistant\n";
                if !message.content.is_empty() {
                    text += &format!("{}\n", message.content);
                }
                for call in &message.tool_calls {
                    text += "\n<tool_call>\n";
                    write_call(call, &mut text);
                    text += "\n</tool_call>";
                }
                text += "<|im_end|>\n";
            }
            "tool" => tool_response(&messages, index, &message.content, &mut text),
            role => {
                text += &format!("<|im_start|>{role}\n{}", message.content);
                if !is_prefill {
                    text += "<|im_end|>\n";
                }
            }
        }
        if is_last && !is_prefill {
            text += "<|im_start|>assistant\n";
        }
    }
    Ok(text)
}

/// `<function=…>` with a tag for each parameter.
fn write_call(call: &ToolCall, text: &mut String) {
    *text += &format!("<function={}>", call.function.name);
    for (key, value) in &call.function.arguments {
        *text += &format!("\n<parameter={key}>\n{}\n</parameter>", value_text(value));
    }
    *text += "\n</function>";
}

fn declare(tool: &TypedTool, text: &mut String) {
    let function = &tool.function;
    *text += &format!("\n<function>\n<name>{}</name>", function.name);
    if !function.description.is_empty() {
        *text += &format!("\n<description>{}</description>", function.description);
    }
    *text += "\n<parameters>";
    for (name, property) in function.parameters.properties.iter().flatten() {
        *text += &format!("\n<parameter>\n<name>{name}</name>");
        match property.kinds.as_slice() {
            [] => {}
            [kind] => *text += &format!("\n<type>{kind}</type>"),
            kinds => *text += &format!("\n<type>{}</type>", json(&kinds.into())),
        }
        if !property.description.is_empty() {
            *text += &format!("\n<description>{}</description>", property.description);
        }
        other_keys_of_property(property, text);
        *text += "\n</parameter>";
    }
    other_keys(&function.parameters, text);
    *text += "\n</parameters>\n</function>";
}

/// Everything but type and description, in the order in which tools are written.
fn other_keys_of_property(property: &TypedProperty, text: &mut String) {
    if !property.any_of.is_empty() {
        let parts = property
            .any_of
            .iter()
            .map(|part| part.json(Spelling::Escaped));
        let parts = parts.collect::<Vec<_>>().join(",");
        tag("anyOf", &format!("[{parts}]"), text);
    }
    if let Some(items) = &property.items {
        tag("items", &value_text(items), text);
    }
    if !property.values.is_empty() {
        tag("enum", &json(&property.values.clone().into()), text);
    }
    if let Some(properties) = &property.properties {
        tag(
            "properties",
            &properties_json(properties, Spelling::Escaped),
            text,
        );
    }
    if !property.required.is_empty() {
        tag("required", &json(&property.required.clone().into()), text);
    }
}

fn other_keys(parameters: &TypedParameters, text: &mut String) {
    if let Some(defs) = &parameters.defs {
        tag("$defs", &value_text(defs), text);
    }
    if let Some(items) = &parameters.items {
        tag("items", &value_text(items), text);
    }
    if !parameters.required.is_empty() {
        tag("required", &json(&parameters.required.clone().into()), text);
    }
}

fn tag(name: &str, value: &str, text: &mut String) {
    *text += &format!("\n<{name}>{value}</{name}>");
}
