//! Messages → prompt text.
//!
//! Renders the templates that come with models: the GGUF's own Jinja template ([`jinja`]) and the TEMPLATE in
//! Go's language ([`go`]). (Families that Ollama renders in code are in `families`.) Pure: no model, no I/O.
//! Templates are untrusted programs, which may take any time and memory and overflow any stack, so worker
//! processes run them (`workers`).

pub mod chatml;
pub mod go;
pub mod images;
pub mod jinja;
pub mod select;

use std::borrow::Cow;

use jiff::ZonedDateTime;

use crate::chat::{Message, Think, ToolDefinition};

pub use go::GoTemplate;
pub use jinja::ChatTemplate;

/// The input of a prompt.
#[derive(Debug, Clone, Copy, Default)]
pub struct RenderInput<'a> {
    pub messages: &'a [Message],
    pub tools: &'a [ToolDefinition],
    pub think: Option<Think>,
    /// The time for date functions; `None` = the system's clock.
    pub now: Option<&'a ZonedDateTime>,
}

/// The template could not be parsed or run; the text says where and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chat template: {0}")]
pub struct RenderError(pub String);

/// The longest source of a template, in bytes; the longest of known models has 20,000.
pub const MAX_SOURCE: usize = crate::template::MAX_SOURCE;

/// Drops everything before `from` except the system messages.
pub fn kept(messages: &[Message], from: usize) -> impl Iterator<Item = &Message> {
    let messages = messages.iter().enumerate();
    messages
        .filter(move |(index, message)| *index >= from || message.role == "system")
        .map(|(_, message)| message)
}

/// The same as a list.
pub fn keep_from(messages: &[Message], from: usize) -> Cow<'_, [Message]> {
    if from == 0 {
        return messages.into();
    }
    kept(messages, from).cloned().collect()
}

/// Splits off the text of a last message of the assistant, which the answer continues.
fn prefill(messages: &[Message]) -> (&[Message], &str) {
    match messages.split_last() {
        Some((last, before)) if last.role == "assistant" && last.tool_calls.is_empty() => {
            (before, &last.content)
        }
        _ => (messages, ""),
    }
}
