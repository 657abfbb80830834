//! When a constraint begins to hold: with the answer, not with the thinking before it.

use crate::protocol::ThinkingTags;

/// Where a sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning: thinking may be opened, or the answer begins.
    Undecided,
    Thinking,
    Answering,
}

/// Follows the text of a sequence.
#[derive(Debug)]
pub(super) struct Gate {
    tags: ThinkingTags,
    state: State,
    /// What was said, as far as a tag may still begin in it.
    text: Vec<u8>,
}

impl Gate {
    pub(super) fn new(tags: &ThinkingTags) -> Self {
        Self {
            tags: tags.clone(),
            state: if tags.open.is_empty() {
                State::Thinking
            } else {
                State::Undecided
            },
            text: Vec::new(),
        }
    }

    /// Whether the constraint holds.
    pub(super) fn is_passed(&self) -> bool {
        self.state == State::Answering
    }

    /// Goes on by the text of a token; `false` if that is the answer's beginning already, which has
    /// to be picked under the constraint.
    pub(super) fn accept(&mut self, piece: &[u8]) -> bool {
        let n_before = self.text.len();
        self.text.extend_from_slice(piece);
        match self.state {
            State::Answering => return true,
            State::Undecided => {
                let text = self.text.trim_ascii_start();
                let open = self.tags.open.as_bytes();
                if text.starts_with(open) {
                    self.state = State::Thinking;
                } else if piece.is_empty() || !open.starts_with(text) {
                    self.text.truncate(n_before);
                    self.state = State::Answering;
                    return false;
                }
            }
            State::Thinking => {}
        }
        if self.state == State::Thinking {
            self.look_for_end();
        }
        true
    }

    fn look_for_end(&mut self) {
        let close = self.tags.close.as_bytes();
        if self.text.windows(close.len()).any(|window| window == close) {
            self.state = State::Answering;
            self.text.clear();
        } else {
            // Thinking is long, and every token comes here: only what may begin the tag stays.
            let n_done = (self.text.len() + 1).saturating_sub(close.len());
            self.text.drain(..n_done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(open: &str) -> Gate {
        Gate::new(&ThinkingTags {
            open: open.to_owned(),
            close: "</think>".to_owned(),
        })
    }

    #[test]
    fn it_opens_behind_the_thinking() {
        let mut gate = gate("<think>");
        for piece in ["\n", "<th", "ink>", "{", "}</th", "ink"] {
            assert!(gate.accept(piece.as_bytes()), "{piece}");
            assert!(!gate.is_passed(), "{piece}");
        }
        assert!(gate.accept(b">"));
        assert!(gate.is_passed());
    }

    #[test]
    fn a_block_that_the_prompt_opened_needs_no_tag() {
        let mut gate = gate("");
        assert!(gate.accept(b"Hm") && !gate.is_passed());
        assert!(gate.accept(b"</think>") && gate.is_passed());
    }

    #[test]
    fn an_answer_without_thinking_is_constrained_from_its_first_token() {
        for piece in ["Sure", "", "{"] {
            let mut gate = gate("<think>");
            assert!(
                !gate.accept(piece.as_bytes()) && gate.is_passed(),
                "{piece}"
            );
        }
    }
}
