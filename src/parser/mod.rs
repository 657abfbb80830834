//! Model output → content, thinking and tool calls.
//!
//! Synchronous and without I/O: one value per request, thrown away after. The parsers of model
//! families are in `families`.
//! *Law:* any way of cutting the input gives the same pieces, joined.

#[cfg(test)]
pub(crate) mod cut;
mod forced;
pub(crate) mod held;
mod then;
mod thinking;
pub(crate) mod tool_calls;

use crate::chat::{Message, Think, ToolCall, ToolDefinition};

pub use forced::ForcedCall;
pub(crate) use held::overlap;
pub use then::Then;
pub use thinking::Thinking;
pub use tool_calls::{ToolCalls, find_arguments};

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

/// The output cannot be read as what it claims to be (a tool call with broken arguments, …).
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

    /// Returns what was held back where a limit has cut the output off: calls that are whole, but
    /// nothing of one that has only begun.
    fn cut(&mut self) -> Piece {
        self.finish().unwrap_or_default()
    }
}

/// What a parser is told before the first piece.
#[derive(Debug, Clone, Copy, Default)]
pub struct Start<'a> {
    pub tools: &'a [ToolDefinition],
    /// The last message of the history: an assistant's text is continued.
    pub last: Option<&'a Message>,
    pub think: Option<Think>,
    /// Whether the rendered prompt ends inside an open thinking block; `None` = not known, the
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
