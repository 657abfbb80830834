//! Text to tokens, a slice at a time.

use std::vec;

use crate::engine::backend::{BackendError, Part, Preparer};
use crate::protocol::Token;

/// Bytes of a slice: some milliseconds.
const SLICE: usize = 32 << 10;

/// A text that is being tokenized.
pub(super) struct Reading {
    text: String,
    parts: vec::IntoIter<Part>,
    tokens: Vec<Token>,
}

impl Reading {
    /// Starts with a text; with `parse_special` the texts of special tokens are those tokens.
    pub(super) fn new<P: Preparer>(
        preparer: &P,
        text: String,
        parse_special: bool,
    ) -> Result<Self, BackendError> {
        Ok(Self {
            parts: preparer.cut(&text, parse_special)?.into_iter(),
            text,
            tokens: Vec::new(),
        })
    }

    /// Tokenizes a slice; false at the end.
    pub(super) fn advance<P: Preparer>(&mut self, preparer: &P) -> bool {
        let mut room = SLICE;
        while room > 0 {
            match self.parts.next() {
                Some(Part::Token(token)) => {
                    self.tokens.push(token);
                    room -= 1;
                }
                Some(Part::Text(range)) => {
                    let part = self.text.get(range).unwrap_or_default();
                    self.tokens.append(&mut preparer.tokenize_part(part));
                    room = room.saturating_sub(part.len());
                }
                None => return false,
            }
        }
        true
    }

    /// Tokens so far.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn into_tokens(self) -> Vec<Token> {
        self.tokens
    }
}
