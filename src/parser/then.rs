//! Chains two parsers: the content of the first one is the input of the second.

use super::{ParseError, Parser, Piece};

/// Thinking first, then tool calls in what is left.
#[derive(Debug)]
pub struct Then<A, B> {
    first: A,
    second: B,
}

impl<A: Parser, B: Parser> Then<A, B> {
    /// Chains `second` after `first`.
    pub fn new(first: A, second: B) -> Self {
        Self { first, second }
    }

    fn pass(&mut self, piece: Piece) -> Result<Piece, ParseError> {
        if piece.content.is_empty() {
            return Ok(piece);
        }
        let rest = self.second.push(&piece.content)?;
        Ok(Piece {
            thinking: piece.thinking + &rest.thinking,
            ..rest
        })
    }
}

impl<A: Parser, B: Parser> Parser for Then<A, B> {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        let piece = self.first.push(text)?;
        self.pass(piece)
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let last = self.first.finish()?;
        let mut piece = self.pass(last)?;
        let rest = self.second.finish()?;
        piece.content += &rest.content;
        piece.thinking += &rest.thinking;
        piece.tool_calls.extend(rest.tool_calls);
        Ok(piece)
    }

    fn cut(&mut self) -> Piece {
        let last = self.first.cut();
        let mut piece = self.pass(last).unwrap_or_default();
        let rest = self.second.cut();
        piece.content += &rest.content;
        piece.thinking += &rest.thinking;
        piece.tool_calls.extend(rest.tool_calls);
        piece
    }
}
