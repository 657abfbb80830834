//! Nemotron 3 and 3.5 Nano: tools and calls in XML with Python's spelling of JSON.

use serde_json::Value;

use crate::chat::typed::{Properties, TypedParameters, TypedProperty, TypedTool};
use crate::chat::{Message, Think, ThinkLevel};
use crate::families::shared::prompt::{leading_system, role_at, thinks, tools};
use crate::families::shared::xml::XML_CALLS;
use crate::json::go;
use crate::renderer::images::Images;
use crate::renderer::{RenderError, RenderInput};
use crate::template;

pub(super) fn nano3(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(render(input, false))
}

pub(super) fn nano35(input: &RenderInput<'_>) -> Result<String, RenderError> {
    Ok(render(input, true))
}

fn render(input: &RenderInput<'_>, is_35: bool) -> String {
    let thinks = if is_35 {
        thinks(input, true)
    } else {
        toggled(input)
    };
    let is_medium = is_35 && input.think == Some(Think::Level(ThinkLevel::Medium));
    let (system, messages) = leading_system(input.messages, &["system"]);
    let system = system.map_or_else(String::new, |text| {
        if is_35 {
            text.to_owned()
        } else {
            without_toggles(text)
        }
    });
    let tools = tools(input);
    let mut text = format!("<|im_start|>system\n{system}");
    if !tools.is_empty() {
        if !system.is_empty() {
            text += "\n\n";
        }
        declare(&tools, &mut text);
    }
    text += "<|im_end|>\n";
    let last_user = messages.iter().rposition(|message| message.role == "user");
    let mut images = Images::default();
    for (index, message) in messages.iter().enumerate() {
        let is_old = last_user.is_some_and(|last| index < last);
        match message.role.as_str() {
            "assistant" => assistant(message, &with_thinking(message, is_35), is_old, &mut text),
            "user" | "system" => {
                let mut content = images.tag(message, &message.content);
                if !is_35 {
                    content = without_toggles(&content).trim().to_owned();
                } else if is_medium && last_user == Some(index) {
                    content += "\n\n{reasoning effort: efficient}";
                }
                text += &format!("<|im_start|>{}\n{content}<|im_end|>\n", message.role);
            }
            "tool" => {
                let content = images.tag(message, &message.content);
                if index > 0 && role_at(messages, Some(index - 1)) != "tool" {
                    text += "<|im_start|>user\n";
                }
                text += &format!("<tool_response>\n{content}\n</tool_response>\n");
                if role_at(messages, Some(index + 1)) != "tool" {
                    text += "<|im_end|>\n";
                }
            }
            role => text += &format!("<|im_start|>{role}\n{}<|im_end|>\n", message.content),
        }
    }
    text + if thinks {
        "<|im_start|>assistant\n<think>\n"
    } else {
        "<|im_start|>assistant\n<think></think>"
    }
}

/// Whether thinking is on: `/think` and `/no_think` in the texts switch it, the last one counts.
fn toggled(input: &RenderInput<'_>) -> bool {
    let texts = input
        .messages
        .iter()
        .filter(|message| matches!(message.role.as_str(), "user" | "system"));
    texts.fold(thinks(input, true), |thinks, message| {
        if message.content.replace("</think>", "").contains("/think") {
            true
        } else if message.content.contains("/no_think") {
            false
        } else {
            thinks
        }
    })
}

/// Removes the toggles, but not the tag that looks like one.
fn without_toggles(text: &str) -> String {
    let parts = text.split("</think>");
    let parts = parts.map(|part| part.replace("/think", "").replace("/no_think", ""));
    parts.collect::<Vec<_>>().join("</think>")
}

fn assistant(message: &Message, content: &str, is_old: bool, text: &mut String) {
    *text += "<|im_start|>assistant\n";
    if message.tool_calls.is_empty() {
        *text += &plain(content, is_old);
    } else {
        *text += &before_calls(content, is_old);
        for call in &message.tool_calls {
            *text += &format!("<tool_call>\n<function={}>\n", call.function.name);
            for (key, value) in &call.function.arguments {
                *text += &format!("<parameter={key}>\n{}\n</parameter>\n", value_text(value));
            }
            *text += "</function>\n</tool_call>\n";
        }
    }
    *text += "<|im_end|>\n";
}

/// Every turn has a think block.
fn with_thinking(message: &Message, is_35: bool) -> String {
    let Message {
        content, thinking, ..
    } = message;
    if !thinking.is_empty() {
        return if is_35 {
            format!("<think>\n{thinking}</think>{content}")
        } else {
            format!("<think>\n{thinking}\n</think>\n{content}")
        };
    }
    if content.contains("<think>") || content.contains("</think>") {
        content.clone()
    } else {
        format!("<think></think>{content}")
    }
}

fn plain(content: &str, is_old: bool) -> String {
    let has_block = content.contains("<think>") && content.contains("</think>");
    match content.rsplit_once("</think>") {
        Some((_, rest)) if is_old && has_block => format!("<think></think>{rest}"),
        _ => content.to_owned(),
    }
    .trim()
    .to_owned()
}

fn before_calls(content: &str, is_old: bool) -> String {
    if content.trim().is_empty() {
        return "<think></think>".to_owned();
    }
    if !is_old {
        return format!("{}\n", content.trim());
    }
    let rest = match content.rsplit_once("</think>") {
        Some((_, rest)) => rest,
        None => content.split("<think>").next().unwrap_or_default(),
    };
    format!("<think></think>{}\n", rest.trim())
        .trim_start()
        .to_owned()
}

fn declare(tools: &[TypedTool], text: &mut String) {
    *text += "# Tools\n\nYou have access to the following functions:\n\n<tools>";
    for tool in tools {
        let function = &tool.function;
        *text += &format!("\n<function>\n<name>{}</name>", function.name);
        if !function.description.is_empty() {
            tag("description", function.description.trim(), text);
        }
        *text += "\n<parameters>";
        for (name, property) in function.parameters.properties.iter().flatten() {
            *text += "\n<parameter>";
            tag("name", name, text);
            declare_property(property, text);
            *text += "\n</parameter>";
        }
        declare_rest(&function.parameters, text);
        *text += "\n</parameters>\n</function>";
    }
    *text += "\n</tools>";
    *text += XML_CALLS;
}

fn declare_property(property: &TypedProperty, text: &mut String) {
    match property.kinds.as_slice() {
        [] => {}
        [kind] => tag("type", kind, text),
        kinds => {
            let kinds: Vec<String> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
            tag("type", &format!("[{}]", kinds.join(", ")), text);
        }
    }
    if !property.description.is_empty() {
        tag("description", property.description.trim(), text);
    }
    if !property.values.is_empty() {
        tag("enum", &python(&property.values.clone().into()), text);
    }
    if !property.any_of.is_empty() {
        tag(
            "anyOf",
            &list(property.any_of.iter().map(python_property)),
            text,
        );
    }
    if let Some(items) = &property.items {
        tag("items", &python(items), text);
    }
    if let Some(properties) = &property.properties {
        tag("properties", &python_properties(properties), text);
    }
    if !property.required.is_empty() {
        tag("required", &python(&property.required.clone().into()), text);
    }
}

fn declare_rest(parameters: &TypedParameters, text: &mut String) {
    if let Some(defs) = &parameters.defs {
        tag("$defs", &value_text(defs), text);
    }
    if let Some(items) = &parameters.items {
        tag("items", &value_text(items), text);
    }
    if !parameters.required.is_empty() {
        tag(
            "required",
            &python(&parameters.required.clone().into()),
            text,
        );
    }
}

fn tag(name: &str, value: &str, text: &mut String) {
    *text += &format!("\n<{name}>{value}</{name}>");
}

/// A value as the original template prints it: JSON for lists and maps, else Python's text.
fn value_text(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => template::float_text(number.as_f64().unwrap_or_default()),
        other => python(other),
    }
}

/// JSON with a space after `:` and `,`, maps sorted by key, nothing escaped for HTML.
fn python(value: &Value) -> String {
    match value {
        Value::Array(items) => list(items.iter().map(python)),
        Value::Object(map) => {
            let map = go::sorted(map);
            let entries = map
                .iter()
                .map(|(key, value)| format!("{}: {}", quote(key), python(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => quote(text),
        other => go::to_string_plain(other),
    }
}

/// A string as Go quotes it: printable characters stay as they are.
fn quote(text: &str) -> String {
    template::quote(text)
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn python_properties(properties: &Properties) -> String {
    let entries = properties
        .iter()
        .map(|(key, property)| format!("{}: {}", quote(key), python_property(property)));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
}

fn python_property(property: &TypedProperty) -> String {
    let mut parts = Vec::new();
    let mut add = |key: &str, value: String| parts.push(format!("\"{key}\": {value}"));
    if !property.any_of.is_empty() {
        add("anyOf", list(property.any_of.iter().map(python_property)));
    }
    match property.kinds.as_slice() {
        [] => {}
        [kind] => add("type", quote(kind)),
        kinds => add("type", python(&kinds.into())),
    }
    if let Some(items) = &property.items {
        add("items", python(items));
    }
    if !property.description.is_empty() {
        add("description", quote(&property.description));
    }
    if !property.values.is_empty() {
        add("enum", python(&property.values.clone().into()));
    }
    if let Some(properties) = &property.properties {
        add("properties", python_properties(properties));
    }
    if !property.required.is_empty() {
        add("required", python(&property.required.clone().into()));
    }
    format!("{{{}}}", parts.join(", "))
}
