//! Reasoning between an opening and a closing tag at the start of an answer.

use super::held::{drive, overlap};
use super::{ParseError, Parser, Piece};

/// Where in the answer the parser is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Only whitespace so far: the opening tag may still come.
    Start,
    /// Whitespace after the opening tag is dropped.
    ThinkingStart,
    Thinking,
    /// Whitespace after the closing tag is dropped.
    ContentStart,
    Content,
}

/// Splits `<think>reasoning</think>answer`.
#[derive(Debug)]
pub struct Thinking {
    open: String,
    close: String,
    state: State,
    /// Whitespace before the closing tag is dropped, too.
    trims: bool,
    /// Undecided text.
    held: String,
}

impl Thinking {
    /// A parser for tags; `inside` = the prompt already contains the opening tag.
    pub fn new(open: &str, close: &str, inside: bool) -> Self {
        Self {
            open: open.to_owned(),
            close: close.to_owned(),
            state: if inside {
                State::ThinkingStart
            } else {
                State::Start
            },
            trims: false,
            held: String::new(),
        }
    }

    /// Drops the whitespace before the closing tag, too.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        self.trims = true;
        self
    }

    /// Moves the decided part of the held text; true when there may be more to decide.
    fn step(&mut self, piece: &mut Piece) -> bool {
        match self.state {
            State::Start => {
                let trimmed = self.held.trim_start();
                if let Some(rest) = trimmed.strip_prefix(self.open.as_str()) {
                    self.held = rest.to_owned();
                    self.state = State::ThinkingStart;
                    return true;
                }
                if self.open.starts_with(trimmed) {
                    return false;
                }
                self.state = State::Content;
                true
            }
            State::ThinkingStart | State::ContentStart => {
                self.held = self.held.trim_start().to_owned();
                if self.held.is_empty() {
                    return false;
                }
                self.state = if self.state == State::ThinkingStart {
                    State::Thinking
                } else {
                    State::Content
                };
                true
            }
            State::Thinking => self.step_thinking(piece),
            State::Content => {
                piece.content.push_str(&self.held);
                self.held.clear();
                false
            }
        }
    }

    fn step_thinking(&mut self, piece: &mut Piece) -> bool {
        if let Some((thinking, rest)) = self.held.split_once(self.close.as_str()) {
            let end = if self.trims {
                thinking.trim_end()
            } else {
                thinking
            };
            piece.thinking.push_str(end);
            self.held = rest.to_owned();
            self.state = State::ContentStart;
            return true;
        }
        // Hold back a possible start of the tag, and the whitespace before it.
        let mut decided = self.held.len() - overlap(&self.held, &self.close);
        if self.trims {
            decided = self.held[..decided].trim_end().len();
        }
        piece.thinking.extend(self.held.drain(..decided));
        false
    }
}

impl Parser for Thinking {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.held.push_str(text);
        drive(|piece| Ok(self.step(piece)))
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let rest = std::mem::take(&mut self.held);
        Ok(match self.state {
            State::Thinking | State::ThinkingStart => Piece {
                thinking: rest,
                ..Piece::default()
            },
            State::Start | State::Content => Piece {
                content: rest,
                ..Piece::default()
            },
            State::ContentStart => Piece::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::cut::{check_cuts, joined};

    fn parse(inside: bool, text: &str) -> (String, String) {
        let mut parser = Thinking::new("<think>", "</think>", inside).trimmed();
        let piece = joined(&mut parser, [text]).unwrap();
        (piece.thinking, piece.content)
    }

    fn pair(thinking: &str, content: &str) -> (String, String) {
        (thinking.to_owned(), content.to_owned())
    }

    #[test]
    fn thinking_is_split_from_content() {
        assert_eq!(
            parse(false, "<think>\nwhy\n</think>\n\nbecause"),
            pair("why", "because")
        );
    }

    #[test]
    fn answer_without_tags_is_content() {
        assert_eq!(parse(false, " <b>x</b>"), pair("", " <b>x</b>"));
    }

    #[test]
    fn prompt_that_opened_the_tag_starts_inside() {
        assert_eq!(parse(true, "why</think>yes"), pair("why", "yes"));
    }

    #[test]
    fn unfinished_thinking_stays_thinking() {
        assert_eq!(
            parse(false, "<think>on and on </thi"),
            pair("on and on </thi", "")
        );
    }

    #[test]
    fn cuts_do_not_matter() {
        let new = || Box::new(Thinking::new("<think>", "</think>", false)) as Box<dyn Parser>;
        check_cuts(
            new,
            r"( |\n)?(<think>)?[a-zé<\n /]{0,12}(</think>)?[a-z <]{0,8}",
        );
        let trimmed =
            || Box::new(Thinking::new("<think>", "</think>", true).trimmed()) as Box<dyn Parser>;
        check_cuts(
            trimmed,
            r"( |\n)?[a-zé<\n /]{0,12}(</think>)?[a-z <\n]{0,8}",
        );
    }
}
