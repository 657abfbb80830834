//! Native messages → the dictionaries that templates read.

use serde_json::{Map, Value, json};

use crate::chat::{Message, ToolCall};

/// Converts a history; `developer` becomes `system` unless the template supports it.
pub(super) fn to_values(messages: &[Message], keeps_developer: bool) -> Value {
    messages
        .iter()
        .map(|message| to_value(message, keeps_developer))
        .collect()
}

fn to_value(message: &Message, keeps_developer: bool) -> Value {
    let role = match message.role.as_str() {
        "developer" if !keeps_developer => "system",
        role => role,
    };
    let mut value = Map::new();
    value.insert("role".to_owned(), json!(role));
    value.insert("content".to_owned(), json!(message.content));
    if !message.thinking.is_empty() {
        // The name that most templates use, and the one that gpt-oss's uses; llama.cpp also passes both.
        value.insert("reasoning_content".to_owned(), json!(message.thinking));
        value.insert("thinking".to_owned(), json!(message.thinking));
    }
    if !message.tool_calls.is_empty() {
        let calls: Vec<Value> = message.tool_calls.iter().map(call).collect();
        value.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    if !message.tool_name.is_empty() {
        value.insert("name".to_owned(), json!(message.tool_name));
    }
    if !message.tool_call_id.is_empty() {
        value.insert("tool_call_id".to_owned(), json!(message.tool_call_id));
    }
    Value::Object(value)
}

fn call(call: &ToolCall) -> Value {
    let mut value = Map::new();
    // Some templates append it to a text, which fails if it is undefined.
    value.insert("id".to_owned(), json!(call.id));
    value.insert("type".to_owned(), json!("function"));
    value.insert(
        "function".to_owned(),
        json!({"name": call.function.name, "arguments": call.function.arguments}),
    );
    Value::Object(value)
}

/// Moves all system texts in front of the first user message; `None` when there is no system text.
pub(super) fn fold_system(messages: &[Message]) -> Option<Vec<Message>> {
    let is_system = |message: &&Message| matches!(message.role.as_str(), "system" | "developer");
    let system: Vec<&str> = messages
        .iter()
        .filter(is_system)
        .map(|message| message.content.as_str())
        .collect();
    if system.is_empty() {
        return None;
    }
    let mut rest: Vec<Message> = messages
        .iter()
        .filter(|message| !is_system(message))
        .cloned()
        .collect();
    let text = system.join("\n\n");
    match rest.iter_mut().find(|message| message.role == "user") {
        Some(user) => user.content = format!("{text}\n\n{}", user.content),
        None => rest.insert(0, Message::text("user", text)),
    }
    Some(rest)
}
