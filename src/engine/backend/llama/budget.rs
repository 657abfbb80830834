//! Ends thinking that takes too many tokens: the tokens that close it are forced, as llama-server's reasoning
//! budget does.

use super::gate::Gate;
use crate::protocol::{Exempt, ThinkingTags, Token};

/// Counts the tokens of the thinking before an answer.
#[derive(Debug)]
pub(super) struct Budget {
    gate: Gate,
    /// Tokens that may still be thinking.
    n_left: u32,
    /// The tokens that end the thinking, and how many of them were picked.
    close: Vec<Token>,
    n_closed: usize,
}

impl Budget {
    /// `None` where thinking has no limit. `close` holds the tokens of the text that ends it.
    pub(super) fn new(tags: &ThinkingTags, close: Vec<Token>) -> Option<Self> {
        let n_left = tags.n_most.filter(|_| !close.is_empty())?;
        let gate = Gate::new(&Exempt {
            thinking: Some(tags.clone()),
            call: None,
        })?;
        Some(Self {
            gate,
            n_left,
            close,
            n_closed: 0,
        })
    }

    /// The next token, if it is forced.
    pub(super) fn forced(&mut self) -> Option<Token> {
        if self.n_left > 0 || !self.gate.is_thinking() {
            return None;
        }
        let token = self.close.get(self.n_closed).copied();
        self.n_closed += 1;
        token
    }

    /// Advances by the text of a token; false once there is nothing left to limit.
    pub(super) fn accept(&mut self, piece: &[u8]) -> bool {
        self.gate.accept(piece);
        self.n_left = self.n_left.saturating_sub(1);
        !self.gate.is_passed() && self.n_closed < self.close.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(open: &str, n_most: u32) -> Budget {
        let tags = ThinkingTags {
            open: open.to_owned(),
            close: "</t>".to_owned(),
            n_most: Some(n_most),
            ..ThinkingTags::default()
        };
        Budget::new(&tags, vec![7, 8]).unwrap()
    }

    #[test]
    fn thinking_is_closed_when_its_tokens_are_used_up() {
        let mut budget = budget("", 2);
        for piece in ["a", "b"] {
            assert_eq!(budget.forced(), None);
            assert!(budget.accept(piece.as_bytes()));
        }
        assert_eq!(budget.forced(), Some(7));
        assert!(budget.accept(b"</"));
        assert_eq!(budget.forced(), Some(8));
        assert!(!budget.accept(b"t>"));
    }

    #[test]
    fn thinking_that_ends_by_itself_and_answers_without_it_are_left_alone() {
        let mut short = budget("<t>", 5);
        assert!(short.accept(b"<t>a"));
        assert!(!short.accept(b"</t>"));
        let mut none = budget("<t>", 1);
        assert!(!none.accept(b"Hello"));
        assert_eq!(none.forced(), None);
    }

    #[test]
    fn no_thinking_at_all_is_a_budget_too() {
        assert_eq!(budget("", 0).forced(), Some(7));
    }
}
