//! Model output → content and thinking (tool calls of the families follow, one file each).
//!
//! Synchronous and without I/O: one value per request, thrown away after.
//! *Law:* any way of cutting the input gives the same pieces, joined.

mod think_tags;

use crate::chat::ToolCall;

pub use think_tags::ThinkTags;

/// What a piece of output turned out to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Piece {
    pub content: String,
    pub thinking: String,
    pub tool_calls: Vec<ToolCall>,
}

impl Piece {
    /// Whether there is anything to send.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty() && self.thinking.is_empty() && self.tool_calls.is_empty()
    }
}

/// The parser of one answer.
#[derive(Debug)]
pub enum Parser {
    /// Everything is content.
    Passthrough,
    /// `<think>…</think>` before the content.
    ThinkTags(ThinkTags),
}

impl Parser {
    /// Reads the next piece of output.
    pub fn push(&mut self, text: &str) -> Piece {
        match self {
            Self::Passthrough => Piece {
                content: text.to_owned(),
                ..Piece::default()
            },
            Self::ThinkTags(parser) => parser.push(text),
        }
    }

    /// Returns what was held back at the end of the output.
    pub fn finish(&mut self) -> Piece {
        match self {
            Self::Passthrough => Piece::default(),
            Self::ThinkTags(parser) => parser.finish(),
        }
    }
}
