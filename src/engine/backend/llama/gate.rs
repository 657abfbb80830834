//! Decides when a constraint begins to apply: at the answer, not in the thinking before it, and not in a tool
//! call in place of an answer.

use crate::protocol::{Exempt, ThinkingTags};

/// What a sequence is generating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of the output, or after the thinking.
    Undecided {
        may_think: bool,
    },
    Thinking,
    Calling,
    Answering,
}

/// Follows the text of a sequence.
#[derive(Debug)]
pub(super) struct Gate {
    thinking: ThinkingTags,
    call: String,
    state: State,
    /// The end of the text in which a tag may have begun.
    text: Vec<u8>,
}

impl Gate {
    /// `None` = nothing is exempt.
    pub(super) fn new(exempt: &Exempt) -> Option<Self> {
        if *exempt == Exempt::default() {
            return None;
        }
        let thinking = exempt.thinking.clone();
        Some(Self {
            state: match &thinking {
                Some(tags) if tags.open.is_empty() => State::Thinking,
                tags => State::Undecided {
                    may_think: tags.is_some(),
                },
            },
            text: thinking
                .as_ref()
                .map_or_else(Vec::new, |tags| tags.begun.clone().into_bytes()),
            thinking: thinking.unwrap_or_default(),
            call: exempt.call.clone().unwrap_or_default(),
        })
    }

    /// Whether the constraint applies.
    pub(super) fn is_passed(&self) -> bool {
        self.state == State::Answering
    }

    /// Whether the sequence is thinking.
    pub(super) fn is_thinking(&self) -> bool {
        self.state == State::Thinking
    }

    /// Advances by the text of a token; `false` if the token already begins the answer, so that it must be
    /// picked under the constraint.
    pub(super) fn accept(&mut self, piece: &[u8]) -> bool {
        match self.state {
            State::Answering | State::Calling => true,
            State::Thinking => {
                self.text.extend_from_slice(piece);
                self.look_for_end();
                true
            }
            State::Undecided { may_think } => {
                self.text.extend_from_slice(piece);
                self.decide(may_think, piece)
            }
        }
    }

    fn decide(&mut self, may_think: bool, piece: &[u8]) -> bool {
        let text = self.text.trim_ascii_start();
        let [open, call] = [&self.thinking.open, &self.call].map(|tag| tag.as_bytes());
        if may_think && text.starts_with(open) {
            self.state = State::Thinking;
            self.look_for_end();
            return true;
        }
        if !call.is_empty() && text.starts_with(call) {
            self.state = State::Calling;
            return true;
        }
        let is_open =
            (may_think && open.starts_with(text)) || (!call.is_empty() && call.starts_with(text));
        // An end token has no text.
        if is_open && !piece.is_empty() {
            return true;
        }
        self.state = State::Answering;
        false
    }

    fn look_for_end(&mut self) {
        let close = self.thinking.close.as_bytes();
        let end = self
            .text
            .windows(close.len())
            .position(|window| window == close);
        if let Some(at) = end {
            self.text.drain(..at + close.len());
            self.state = if self.call.is_empty() {
                State::Answering
            } else {
                State::Undecided { may_think: false }
            };
        } else {
            // Thinking is long, and every token comes here: only text that may begin the tag is kept.
            let n_done = (self.text.len() + 1).saturating_sub(close.len());
            self.text.drain(..n_done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(open: &str, call: &str) -> Gate {
        Gate::new(&Exempt {
            thinking: Some(ThinkingTags {
                open: open.to_owned(),
                close: "</think>".to_owned(),
                ..ThinkingTags::default()
            }),
            call: (!call.is_empty()).then(|| call.to_owned()),
        })
        .unwrap()
    }

    #[test]
    fn it_opens_behind_the_thinking() {
        let mut gate = gate("<think>", "");
        for piece in ["\n", "<th", "ink>", "{", "}</th", "ink"] {
            assert!(gate.accept(piece.as_bytes()), "{piece}");
            assert!(!gate.is_passed(), "{piece}");
        }
        assert!(gate.accept(b">"));
        assert!(gate.is_passed());
    }

    #[test]
    fn a_block_that_the_prompt_opened_needs_no_tag() {
        let mut gate = gate("", "");
        assert!(gate.accept(b"Hm") && !gate.is_passed());
        assert!(gate.accept(b"</think>") && gate.is_passed());
    }

    #[test]
    fn an_answer_without_thinking_is_constrained_from_its_first_token() {
        for piece in ["Sure", "", "{"] {
            let mut gate = gate("<think>", "");
            assert!(
                !gate.accept(piece.as_bytes()) && gate.is_passed(),
                "{piece}"
            );
        }
    }

    #[test]
    fn the_prompt_may_have_begun_what_ends_the_thinking() {
        let tags = ThinkingTags {
            close: "<|start|>assistant<|message|>".to_owned(),
            begun: "<|start|>assistant".to_owned(),
            ..ThinkingTags::default()
        };
        let exempt = Exempt {
            thinking: Some(tags),
            call: None,
        };
        let mut at_once = Gate::new(&exempt).unwrap();
        assert!(at_once.accept(b"<|message|>") && at_once.is_passed());
        let mut later = Gate::new(&exempt).unwrap();
        let pieces = [
            " to=self",
            "<|message|>",
            "Hm",
            "<|eom|>",
            "<|start|>",
            "assistant",
        ];
        for piece in pieces {
            assert!(
                later.accept(piece.as_bytes()) && !later.is_passed(),
                "{piece}"
            );
        }
        assert!(later.accept(b"<|message|>") && later.is_passed());
    }

    #[test]
    fn a_call_is_free_to_its_end_wherever_it_begins() {
        for pieces in [
            &["<tool", "_call>"][..],
            &["\n", "<tool_call>"],
            &["<think>", "Hm", "</think>\n", "<tool_call>"],
        ] {
            let mut gate = gate("<think>", "<tool_call>");
            for piece in pieces.iter().chain(&["{}", "</think>", "</tool_call>", ""]) {
                assert!(gate.accept(piece.as_bytes()), "{piece}");
                assert!(!gate.is_passed(), "{piece}");
            }
        }
    }

    #[test]
    fn what_begins_like_no_call_is_an_answer() {
        let mut gate = gate("<think>", "<tool_call>");
        for piece in ["<think>", "Hm", "</think>", "\n"] {
            assert!(
                gate.accept(piece.as_bytes()) && !gate.is_passed(),
                "{piece}"
            );
        }
        assert!(!gate.accept(b"{") && gate.is_passed());
    }

    #[test]
    fn without_an_exemption_there_is_no_gate() {
        assert!(Gate::new(&Exempt::default()).is_none());
    }
}
