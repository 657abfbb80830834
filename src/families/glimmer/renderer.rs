//! Glimmer: each message has a recipient, calls are in ATEM.

use jiff::ZonedDateTime;
use serde_json::Value;

use crate::chat::typed::{Spelling, TypedTool};
use crate::chat::{Message, Think, ToolCall};
use crate::families::shared::prompt::{tools, value_text};
use crate::json::{go, spaced};
use crate::renderer::images::Images;
use crate::renderer::{RenderError, RenderInput};

const SYSTEM: &str = "You are a helpful AI assistant.";
const CUTOFF: &str = "2026-01-04";

const TOOLS: &str = "In this environment you have access to a set of tools you can use to answer the user's question.\n\nYou can invoke a function by writing a \"<atem:function_calls>\" block like the following:\n<atem:function_calls>\n<atem:invoke name=\"$FUNCTION_NAME\">\n<atem:parameter name=\"$PARAMETER_NAME\">$PARAMETER_VALUE</atem:parameter>\n...\n</atem:invoke>\n</atem:function_calls>\n\nString and scalar parameters should be specified as is, while lists and objects should use JSON format. Note that spaces for string values are not stripped. The output is not expected to be valid XML and is parsed with regular expressions.\nHere are the functions available in JSONSchema format:\n// Tool metadata\n";

const EXAMPLE: &str = "\n\nHere's an example of how to call a function in the tool set:\n(If the tool namespace is not specified, invoke the function directly as `example_function_name` rather than `example_tool_name.example_function_name`)\n\nto=example_tool_name.example_function_name\n\n<atem:function_calls>\n<atem:invoke name=\"example_tool_name.example_function_name\">\n<atem:parameter name=\"example_parameter_1\">value_1</atem:parameter>\n<atem:parameter name=\"example_parameter_2\">This is the value for the second parameter\nthat can span\n\"multiple\" lines\n</atem:parameter>\n</atem:invoke>\n</atem:function_calls>";

/// The end of a message: more messages of the same turn follow, or not.
const MESSAGE_END: &str = "<|eom|>";
const TURN_END: &str = "<|eot|>";

pub(super) fn render(input: &RenderInput<'_>) -> Result<String, RenderError> {
    let messages = input.messages;
    let tools = tools(input);
    let strength = strength(input.think);
    let mut text = "<|begin_of_text|>".to_owned();
    if !messages.iter().any(|message| message.role == "system") {
        let today = match input.now {
            Some(now) => now.date(),
            None => ZonedDateTime::now().date(),
        };
        let content = format!(
            "{SYSTEM}\nKnowledge cutoff: {CUTOFF}.\nCurrent date: {today}.\n\nReasoning strength: {strength}."
        );
        system(&content, &tools, &mut text);
    }
    let mut images = Images::default();
    for (index, message) in messages.iter().enumerate() {
        let content = images.tag(message, &message.content);
        match message.role.as_str() {
            "system" => {
                let mut content = renamed(&content);
                if !content.to_lowercase().contains("reasoning strength") {
                    content += &format!("\n\nReasoning strength: {strength}.");
                }
                system(&content, &tools, &mut text);
            }
            "user" => say("user", &content, TURN_END, &mut text),
            "tool" => {
                let name = result_name(message, messages);
                let output = format!("<tool_output name=\"{name}\">\n{content}\n</tool_output>");
                say(&format!("tool {name}"), &output, TURN_END, &mut text);
            }
            "assistant" => {
                let next = messages.get(index + 1);
                let goes_on = next.is_some_and(|next| next.role == "assistant");
                answer(message, &content, goes_on, &mut text);
            }
            _ => {}
        }
    }
    Ok(text + "<|start|>assistant")
}

fn say(header: &str, content: &str, end: &str, text: &mut String) {
    *text += &format!("<|start|>{header}<|message|>{content}{end}");
}

fn answer(message: &Message, content: &str, goes_on: bool, text: &mut String) {
    if !message.thinking.is_empty() {
        say("assistant to=self", &message.thinking, MESSAGE_END, text);
    }
    let last = message.tool_calls.len().saturating_sub(1);
    for (index, call) in message.tool_calls.iter().enumerate() {
        let end = if index < last || goes_on {
            MESSAGE_END
        } else {
            TURN_END
        };
        say(
            &format!("assistant to={}", call.function.name),
            &atem(call),
            end,
            text,
        );
    }
    let says = !content.is_empty() || message.thinking.is_empty();
    if message.tool_calls.is_empty() && says {
        say("assistant to=user", content, TURN_END, text);
    }
}

fn strength(think: Option<Think>) -> &'static str {
    match think {
        None | Some(Think::On) => "high",
        Some(Think::Off) => "none",
        Some(Think::Level(level)) => level.as_str(),
    }
}

/// The model's word is "strength" where others say "effort".
fn renamed(content: &str) -> String {
    content
        .replace("Reasoning effort", "Reasoning strength")
        .replace("Reasoning Effort", "Reasoning Strength")
        .replace("reasoning effort", "reasoning strength")
        .replace("REASONING EFFORT", "REASONING STRENGTH")
}

fn system(content: &str, tools: &[TypedTool], text: &mut String) {
    let namespaces = namespaces(tools);
    let mut content = content.to_owned();
    if !tools.is_empty() {
        content += "\n\n";
        content += TOOLS;
        for namespace in &namespaces {
            let name = plain(&(*namespace).into());
            content += &format!("{{\"name\": {name}, \"description\": \"\"}}\n");
        }
        content += "// Function schemas";
        for tool in tools {
            let function = &tool.function;
            content += &format!(
                "\n{{\"name\": {}, \"description\": {}, \"parameters\": {}}}",
                plain(&function.name.as_str().into()),
                plain(&function.description.as_str().into()),
                spaced(&function.parameters.json(Spelling::Plain))
            );
        }
        content += EXAMPLE;
    }
    content += "\n\n# Valid recipients: \"self\"";
    for namespace in namespaces {
        content += &format!(", \"{namespace}.*\"");
    }
    content += ", \"user\".";
    say("system", &content, TURN_END, text);
}

/// The parts of the tools' names before the first dot, without duplicates.
fn namespaces(tools: &[TypedTool]) -> Vec<&str> {
    let mut found = Vec::new();
    for tool in tools {
        let name = tool.function.name.as_str();
        let namespace = name.split('.').next().unwrap_or(name);
        if !found.contains(&namespace) {
            found.push(namespace);
        }
    }
    found
}

/// JSON with a space after `:` and `,`, nothing escaped for HTML.
fn plain(value: &Value) -> String {
    spaced(&go::to_string_plain(&go::sorted_value(value)))
}

fn result_name<'a>(message: &'a Message, messages: &'a [Message]) -> &'a str {
    if !message.tool_name.is_empty() {
        return &message.tool_name;
    }
    let id = message.tool_call_id.as_str();
    let mut calls = messages
        .iter()
        .flat_map(|message| &message.tool_calls)
        .rev();
    let call = calls.find(|call| !id.is_empty() && call.id == id);
    call.map_or(id, |call| &call.function.name)
}

fn atem(call: &ToolCall) -> String {
    let mut text = format!(
        "<atem:function_calls>\n<atem:invoke name=\"{}\">\n",
        call.function.name
    );
    for (key, value) in &call.function.arguments {
        let value = match value {
            Value::Array(_) | Value::Object(_) => plain(value),
            other => value_text(other),
        };
        text += &format!("<atem:parameter name=\"{key}\">{value}</atem:parameter>\n");
    }
    text + "</atem:invoke>\n</atem:function_calls>"
}
