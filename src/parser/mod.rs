//! Model output → content, thinking and tool calls.
//!
//! Synchronous and without I/O: one value per request. The parsers of model families are in `families`.
//! *Law:* however the input is cut, the joined output is the same.

mod arguments;
#[cfg(test)]
pub(crate) mod cut;
mod forced;
pub(crate) mod held;
mod then;
mod thinking;
pub(crate) mod tool_calls;

use crate::chat::{CallPart, Message, Think, ToolCall, ToolDefinition};

pub(crate) use arguments::Follower;
pub use forced::ForcedCall;
pub(crate) use held::overlap;
pub use then::Then;
pub use thinking::Thinking;
pub use tool_calls::{ToolCalls, find_arguments};

/// The parsed form of a piece of output.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Piece {
    pub content: String,
    pub thinking: String,
    pub tool_calls: Vec<ToolCall>,
    /// Parts of the first of these calls, or of the next one if there are none.
    pub parts: Vec<CallPart>,
}

impl Piece {
    /// Whether there is anything to send.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
            && self.thinking.is_empty()
            && self.tool_calls.is_empty()
            && self.parts.is_empty()
    }
}

/// The output breaks its own format (a tool call with broken arguments, …).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub String);

/// The parser of one answer.
pub trait Parser: std::fmt::Debug + Send {
    /// Reads the next piece of output.
    ///
    /// # Errors
    /// The output breaks the family's format beyond repair.
    fn push(&mut self, text: &str) -> Result<Piece, ParseError>;

    /// Returns what was held back at the end of the output.
    ///
    /// # Errors
    /// The output ended in the middle of something that cannot be shown as it is.
    fn finish(&mut self) -> Result<Piece, ParseError>;

    /// Returns what was held back after a limit has cut the output off: complete calls, but nothing of an
    /// incomplete one.
    fn cut(&mut self) -> Piece {
        self.finish().unwrap_or_default()
    }
}

/// What a parser gets before the first piece.
#[derive(Debug, Clone, Copy, Default)]
pub struct Start<'a> {
    pub tools: &'a [ToolDefinition],
    /// The last message of the history: if it is the assistant's, the answer continues it.
    pub last: Option<&'a Message>,
    pub think: Option<Think>,
    /// Whether the rendered prompt ends inside an open thinking block; `None` = not known; then the
    /// family's own rule decides.
    pub in_thinking: Option<bool>,
}

/// Everything is content.
#[derive(Debug)]
pub struct Passthrough;

impl Parser for Passthrough {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        Ok(Piece {
            content: text.to_owned(),
            ..Piece::default()
        })
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        Ok(Piece::default())
    }
}
