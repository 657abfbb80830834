//! The native conversation types.
//!
//! Dialects turn the messages of their requests into [`Turn`]s, which hold ordered content blocks.
//! Templates get [`Message`]s, and models store them: its serde form *is* Ollama's.

mod image;
mod think;
mod tool;
mod turn;
pub mod typed;

pub use image::Image;
pub use think::{Think, ThinkLevel};
pub use tool::{CallPart, ToolCall, ToolCallFunction, ToolDefinition, ToolFunction};
pub use turn::{Block, PLACE, ToolResult, Turn};

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// A message in the form that templates get (also on `/api/chat`, `MESSAGE` of a Modelfile, the messages layer).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool` or a name that only some templates know; lower case.
    #[serde(deserialize_with = "lower_case")]
    pub role: String,
    /// The text; empty when absent or `null` on the wire.
    #[serde(deserialize_with = "null_is_default")]
    pub content: String,
    /// Earlier reasoning of the assistant.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub thinking: String,
    /// Images that belong to this message.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub images: Vec<Image>,
    /// Calls that the assistant made.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub tool_calls: Vec<ToolCall>,
    /// For role `tool`: the function that answered.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub tool_name: String,
    /// For role `tool`: the call that is answered.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub tool_call_id: String,
}

impl Message {
    /// Returns a message with only role and text.
    pub fn text(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            ..Self::default()
        }
    }
}

fn lower_case<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let role = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    Ok(role.to_lowercase())
}

/// Treats `null` like an absent field, as Go's decoder does.
pub fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_null_fields_are_empty() {
        let message: Message =
            serde_json::from_str(r#"{"role":"User","content":null,"images":null}"#).unwrap();
        assert_eq!(message, Message::text("user", ""));
    }

    #[test]
    fn content_must_be_a_string() {
        assert!(serde_json::from_str::<Message>(r#"{"role":"user","content":[]}"#).is_err());
    }
}
