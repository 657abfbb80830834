//! What several families share: tools and values as text, image tags.

use serde_json::{Map, Value};

use crate::chat::typed::TypedTool;
use crate::chat::{Message, Think};
use crate::json::go;
use crate::renderer::RenderInput;
use crate::renderer::images::Images;
use crate::template;

/// The tools in Ollama's types.
pub(in crate::families) fn tools(input: &RenderInput<'_>) -> Vec<TypedTool> {
    input.tools.iter().map(TypedTool::from).collect()
}

/// Whether thinking is on; `default` if the request does not say.
pub(in crate::families) fn thinks(input: &RenderInput<'_>, default: bool) -> bool {
    input.think.map_or(default, Think::is_on)
}

/// Compact JSON of a call's arguments: in the order in which they were sent, nested objects sorted by key.
pub(in crate::families) fn arguments_json(arguments: &Map<String, Value>) -> String {
    let entries = arguments.iter().map(|(key, value)| {
        let key = go::to_string(&key.as_str().into());
        format!("{key}:{}", json(value))
    });
    format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
}

/// Compact JSON, maps sorted by key.
pub(in crate::families) fn json(value: &Value) -> String {
    go::to_string(&go::sorted_value(value))
}

/// A value as text: strings as they are, lists and maps as JSON, numbers as Go prints them.
pub(in crate::families) fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => template::float_text(number.as_f64().unwrap_or_default()),
        other => json(other),
    }
}

/// How a syntax of Gemma's family writes the values of arguments.
#[derive(Debug, Clone, Copy)]
pub(in crate::families) struct Quoted {
    /// The quote before and after texts.
    pub(in crate::families) quote: &'static str,
    pub(in crate::families) null: &'static str,
}

impl Quoted {
    pub(in crate::families) fn value(self, value: &Value) -> String {
        match value {
            Value::Null => self.null.to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number_text(number.as_f64().unwrap_or_default()),
            Value::String(text) => format!("{0}{text}{0}", self.quote),
            Value::Array(items) => {
                let items = items.iter().map(|item| self.value(item));
                format!("[{}]", items.collect::<Vec<_>>().join(","))
            }
            Value::Object(map) => self.map(map),
        }
    }

    pub(in crate::families) fn map(self, map: &Map<String, Value>) -> String {
        let sorted = go::sorted(map);
        let entries = sorted
            .iter()
            .map(|(key, value)| format!("{key}:{}", self.value(value)));
        format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
    }
}

fn number_text(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 9e18 {
        format!("{number:.0}")
    } else {
        template::float_text(number)
    }
}

/// Whether a message is a question, not merely the result of a tool.
pub(in crate::families) fn asks(message: &Message, trims: bool) -> bool {
    let tagged = Images::default().tag(message, &message.content);
    let content = if trims { tagged.trim() } else { &tagged };
    message.role == "user"
        && !(content.starts_with("<tool_response>") && content.ends_with("</tool_response>"))
}

/// The index of the last question; without one, the last index.
pub(in crate::families) fn last_question(messages: &[Message], trims: bool) -> usize {
    let found = messages.iter().rposition(|message| asks(message, trims));
    found.unwrap_or(messages.len().saturating_sub(1))
}

/// The role of the message at `index`, or empty.
pub(in crate::families) fn role_at(messages: &[Message], index: Option<usize>) -> &str {
    let message = index.and_then(|index| messages.get(index));
    message.map_or("", |message| message.role.as_str())
}

/// A leading system text, and the messages after it.
pub(in crate::families) fn leading_system<'a>(
    messages: &'a [Message],
    roles: &[&str],
) -> (Option<&'a str>, &'a [Message]) {
    match messages.split_first() {
        Some((first, rest)) if roles.contains(&first.role.as_str()) => {
            (Some(first.content.as_str()), rest)
        }
        _ => (None, messages),
    }
}
