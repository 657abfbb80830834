//! The protocol between the daemon and a worker.
//!
//! Orders are frames of JSON as between daemon and runner ([`crate::protocol::framing`]). A conversation is
//! encoded once, however often it is rendered. Answers are a letter and plain text, so a long prompt need
//! not be escaped.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::chat::{Image, Message, Think, ToolCall, ToolDefinition};

/// The protocol version. Increase it with every change of a frame's shape.
pub(super) const VERSION: &str = "1";

/// The language of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Language {
    /// A GGUF file's own template, for minijinja.
    Jinja,
    /// A TEMPLATE, in Go's language.
    Go,
}

/// An order of the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order<'a> {
    /// Store a template in a place, replacing the previous one.
    Template {
        place: usize,
        language: Language,
        source: Cow<'a, str>,
        bos_token: Cow<'a, str>,
        eos_token: Cow<'a, str>,
    },
    /// Store the subject, replacing the previous one.
    Subject(Subject<'a>),
    /// Render the subject with the template at a place.
    Render {
        place: usize,
        /// The first message that stays; all system messages stay.
        from: usize,
        /// The longest prompt, in bytes.
        max_prompt: usize,
    },
}

/// The input of a prompt.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Subject<'a> {
    Conversation {
        messages: Vec<Said<'a>>,
        tools: Cow<'a, [ToolDefinition]>,
        think: Option<Think>,
    },
    /// A text and its suffix, for a TEMPLATE.
    Parts {
        prompt: Cow<'a, str>,
        suffix: Cow<'a, str>,
        think: Option<Think>,
    },
}

/// A message without the content of its images, which templates do not use.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Said<'a> {
    role: Cow<'a, str>,
    content: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    thinking: Cow<'a, str>,
    #[serde(skip_serializing_if = "is_zero")]
    n_images: usize,
    #[serde(skip_serializing_if = "is_empty")]
    tool_calls: Cow<'a, [ToolCall]>,
    #[serde(skip_serializing_if = "str::is_empty")]
    tool_name: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    tool_call_id: Cow<'a, str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn is_empty(calls: &[ToolCall]) -> bool {
    calls.is_empty()
}

impl<'a> From<&'a Message> for Said<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            role: message.role.as_str().into(),
            content: message.content.as_str().into(),
            thinking: message.thinking.as_str().into(),
            n_images: message.images.len(),
            tool_calls: message.tool_calls.as_slice().into(),
            tool_name: message.tool_name.as_str().into(),
            tool_call_id: message.tool_call_id.as_str().into(),
        }
    }
}

impl From<Said<'_>> for Message {
    fn from(said: Said<'_>) -> Self {
        Self {
            role: said.role.into_owned(),
            content: said.content.into_owned(),
            thinking: said.thinking.into_owned(),
            images: vec![Image(Bytes::new()); said.n_images],
            tool_calls: said.tool_calls.into_owned(),
            tool_name: said.tool_name.into_owned(),
            tool_call_id: said.tool_call_id.into_owned(),
        }
    }
}

/// An answer of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has started; the text is its [`VERSION`].
    Ready(String),
    Prompt(String),
    /// The template is not valid.
    Unparsable(String),
    /// The template failed, or refused the conversation.
    Failed(String),
}

/// The longest error message, in bytes: templates can raise any text, and parsers quote them.
const MAX_MESSAGE: usize = 1000;

impl Answer {
    /// The template is not valid; truncates the reason.
    pub(super) fn unparsable(reason: &str) -> Self {
        Self::Unparsable(brief(reason))
    }

    /// Rendering failed; truncates the reason.
    pub(super) fn failed(reason: &str) -> Self {
        Self::Failed(brief(reason))
    }

    /// Encodes a frame's payload; `is_last` = the worker takes no more orders.
    pub(super) fn encode(&self, is_last: bool) -> Vec<u8> {
        let (letter, text) = match self {
            Self::Ready(text) => (b'r', text),
            Self::Prompt(text) => (b'p', text),
            Self::Unparsable(text) => (b'u', text),
            Self::Failed(text) => (b'f', text),
        };
        let letter = if is_last {
            letter.to_ascii_uppercase()
        } else {
            letter
        };
        let mut payload = Vec::with_capacity(1 + text.len());
        payload.push(letter);
        payload.extend_from_slice(text.as_bytes());
        payload
    }

    /// Decodes a frame's payload and whether it is the last one; `None` if it is from another version.
    pub(super) fn decode(payload: &[u8]) -> Option<(Self, bool)> {
        let (letter, text) = payload.split_first()?;
        let text = String::from_utf8(text.to_vec()).ok()?;
        let answer = match letter.to_ascii_lowercase() {
            b'r' => Self::Ready(text),
            b'p' => Self::Prompt(text),
            b'u' => Self::Unparsable(text),
            b'f' => Self::Failed(text),
            _ => return None,
        };
        Some((answer, letter.is_ascii_uppercase()))
    }
}

fn brief(text: &str) -> String {
    if text.len() <= MAX_MESSAGE {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_MESSAGE);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back() {
        for answer in [
            Answer::Ready(VERSION.to_owned()),
            Answer::Prompt("<é>".to_owned()),
            Answer::Unparsable(String::new()),
            Answer::Failed("no".to_owned()),
        ] {
            for is_last in [false, true] {
                let decoded = Answer::decode(&answer.encode(is_last));
                assert_eq!(decoded, Some((answer.clone(), is_last)));
            }
        }
        assert_eq!(Answer::decode(b""), None);
        assert_eq!(Answer::decode(b"x"), None);
    }

    #[test]
    fn messages_come_back_but_for_their_images() {
        let message: Message = serde_json::from_str(
            r#"{"role": "Tool", "content": "c", "thinking": "t", "images": ["aGk="],
                "tool_calls": [{"id": "i", "function": {"index": 1, "name": "f",
                "arguments": {"b": 0.1, "a": [1, null]}}}], "tool_name": "n", "tool_call_id": "j"}"#,
        )
        .unwrap();
        let sent = serde_json::to_string(&Said::from(&message)).unwrap();
        let said: Said<'_> = serde_json::from_str(&sent).unwrap();
        let expected = Message {
            images: vec![Image(Bytes::new())],
            ..message
        };
        assert_eq!(Message::from(said), expected);
    }
}
