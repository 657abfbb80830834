//! `FunctionGemma`: declarations, calls and results in the model's own syntax.

use crate::chat::typed::{TypedProperty, TypedTool};
use crate::chat::{Message, ToolCall};
use crate::renderer::{RenderError, RenderInput};

use crate::families::shared::prompt::{Quoted, leading_system, role_at, tools};

const QUOTE: &str = "<escape>";
/// Null is written as Go prints it.
const DIALECT: Quoted = Quoted {
    quote: QUOTE,
    null: "<nil>",
};
const SYSTEM: &str = "You can do function calling with the following functions:";

/// What the previous message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Turn,
    Call,
    Result,
}

pub(super) fn render(input: &RenderInput<'_>) -> Result<String, RenderError> {
    let (system, messages) = leading_system(input.messages, &["system", "developer"]);
    let system = system.unwrap_or_default();
    let tools = tools(input);
    let mut text = "<bos>".to_owned();
    if !system.is_empty() || !tools.is_empty() {
        text += &format!("<start_of_turn>developer\n{}", system.trim());
        if !tools.is_empty() {
            if !system.is_empty() {
                text += "\n";
            }
            if system.trim() != SYSTEM {
                text += SYSTEM;
            }
        }
        for tool in &tools {
            text += &declaration(tool);
        }
        text += "<end_of_turn>\n";
    }
    let mut before = Before::Turn;
    for (index, message) in messages.iter().enumerate() {
        let content = message.content.trim();
        match message.role.as_str() {
            "assistant" => {
                if before != Before::Result {
                    text += "<start_of_turn>model\n";
                }
                before = Before::Turn;
                text += content;
                for call in &message.tool_calls {
                    text += &call_text(call);
                }
                let calls = !message.tool_calls.is_empty();
                if calls && role_at(messages, Some(index + 1)) == "tool" {
                    text += "<start_function_response>";
                    before = Before::Call;
                } else {
                    text += "<end_of_turn>\n";
                }
            }
            "user" => {
                if before != Before::Result {
                    text += "<start_of_turn>user\n";
                }
                before = Before::Turn;
                text += &format!("{content}<end_of_turn>\n");
            }
            "tool" => {
                if before != Before::Call {
                    text += "<start_function_response>";
                }
                text += &format!(
                    "response:{}{{{QUOTE}{}{QUOTE}}}<end_function_response>",
                    called(messages, index),
                    message.content
                );
                before = Before::Result;
            }
            role => text += &format!("<start_of_turn>{role}\n{content}<end_of_turn>\n"),
        }
    }
    if before != Before::Result {
        text += "<start_of_turn>model\n";
    }
    Ok(text)
}

/// The function that a result belongs to, by the result's position.
fn called(messages: &[Message], index: usize) -> &str {
    let calls_tools =
        |message: &Message| message.role == "assistant" && !message.tool_calls.is_empty();
    let Some(at) = messages[..index].iter().rposition(calls_tools) else {
        return "";
    };
    let results = messages[at..index]
        .iter()
        .filter(|message| message.role == "tool");
    let call = messages[at].tool_calls.get(results.count());
    call.map_or("", |call| call.function.name.as_str())
}

fn call_text(call: &ToolCall) -> String {
    let function = &call.function;
    format!(
        "<start_function_call>call:{}{}<end_function_call>",
        function.name,
        DIALECT.map(&function.arguments)
    )
}

fn declaration(tool: &TypedTool) -> String {
    let function = &tool.function;
    let parameters = &function.parameters;
    let mut parts = Vec::new();
    let properties = parameters.properties.as_ref();
    if let Some(properties) = properties.filter(|properties| !properties.is_empty()) {
        let mut sorted: Vec<_> = properties.iter().collect();
        sorted.sort_by_key(|(name, _)| name.as_str());
        let entries = sorted.iter().map(|(name, property)| entry(name, property));
        let entries: Vec<String> = entries.collect();
        parts.push(format!("properties:{{{}}}", entries.join(",")));
    }
    if !parameters.required.is_empty() {
        let names = parameters
            .required
            .iter()
            .map(|name| format!("{QUOTE}{name}{QUOTE}"));
        let names: Vec<String> = names.collect();
        parts.push(format!("required:[{}]", names.join(",")));
    }
    if !parameters.kind.is_empty() {
        parts.push(format!(
            "type:{QUOTE}{}{QUOTE}",
            parameters.kind.to_uppercase()
        ));
    }
    let mut text = format!(
        "<start_function_declaration>declaration:{}{{description:{QUOTE}{}{QUOTE}",
        function.name, function.description
    );
    if properties.is_some() || !parameters.kind.is_empty() {
        text += &format!(",parameters:{{{}}}", parts.join(","));
    }
    text + "}<end_function_declaration>"
}

fn entry(name: &str, property: &TypedProperty) -> String {
    let mut text = format!(
        "{name}:{{description:{QUOTE}{}{QUOTE}",
        property.description
    );
    if let Some(kind) = property.kinds.first() {
        text += &format!(",type:{QUOTE}{}{QUOTE}", kind.to_uppercase());
    }
    text + "}"
}
