//! Reasoning between an opening and a closing tag at the start of an answer.

use super::{ParseError, Parser, Piece};

/// Where in the answer the parser is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but white space so far: the opening tag may still come.
    Start,
    /// White space after the opening tag is dropped.
    ThinkingStart,
    Thinking,
    /// White space after the closing tag is dropped.
    ContentStart,
    Content,
}

/// Splits `<think>reasoning</think>answer`.
#[derive(Debug)]
pub struct ThinkTags {
    open: &'static str,
    close: &'static str,
    state: State,
    /// Undecided text.
    held: String,
}

impl ThinkTags {
    /// A parser for an answer to `prompt`; a prompt that ends in the opening tag starts inside.
    pub fn new(prompt: &str) -> Self {
        let open = "<think>";
        let inside = prompt.trim_end().ends_with(open);
        Self {
            open,
            close: "</think>",
            state: if inside {
                State::ThinkingStart
            } else {
                State::Start
            },
            held: String::new(),
        }
    }

    /// Moves as much of the held text as is decided; true when there may be more to decide.
    fn step(&mut self, piece: &mut Piece) -> bool {
        match self.state {
            State::Start => {
                let trimmed = self.held.trim_start();
                if let Some(rest) = trimmed.strip_prefix(self.open) {
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
        if let Some((thinking, rest)) = self.held.split_once(self.close) {
            piece.thinking.push_str(thinking.trim_end());
            self.held = rest.to_owned();
            self.state = State::ContentStart;
            return true;
        }
        // Held back: a possible beginning of the tag, and the white space before it.
        let tag = (1..self.close.len())
            .rev()
            .find(|&n| self.held.ends_with(&self.close[..n]))
            .unwrap_or(0);
        let decided = self.held.len() - tag;
        let decided = self
            .held
            .get(..decided)
            .map_or(0, |text| text.trim_end().len());
        piece.thinking.extend(self.held.drain(..decided));
        false
    }
}

impl Parser for ThinkTags {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.held.push_str(text);
        let mut piece = Piece::default();
        while self.step(&mut piece) {}
        Ok(piece)
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
    use proptest::prelude::*;

    use super::*;

    fn parse(prompt: &str, pieces: &[&str]) -> (String, String) {
        let mut parser = ThinkTags::new(prompt);
        let mut all = Piece::default();
        for piece in pieces
            .iter()
            .map(|text| parser.push(text).unwrap())
            .collect::<Vec<_>>()
        {
            all.content += &piece.content;
            all.thinking += &piece.thinking;
        }
        let last = parser.finish().unwrap();
        (all.thinking + &last.thinking, all.content + &last.content)
    }

    fn pair(thinking: &str, content: &str) -> (String, String) {
        (thinking.to_owned(), content.to_owned())
    }

    #[test]
    fn thinking_is_split_from_content() {
        assert_eq!(
            parse("", &["<think>\nwhy\n</think>\n\nbecause"]),
            pair("why", "because")
        );
    }

    #[test]
    fn answer_without_tags_is_content() {
        assert_eq!(parse("", &[" <b>x</b>"]), pair("", " <b>x</b>"));
    }

    #[test]
    fn prompt_that_opened_the_tag_starts_inside() {
        assert_eq!(parse("…<think>\n", &["why</think>yes"]), pair("why", "yes"));
    }

    #[test]
    fn unfinished_thinking_stays_thinking() {
        assert_eq!(
            parse("", &["<think>on and on </thi"]),
            pair("on and on </thi", "")
        );
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            text in r"( |\n)?(<think>)?[a-zé<\n /]{0,12}(</think>)?[a-z <]{0,8}",
            cuts in proptest::collection::vec(0_usize..64, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts
                .into_iter()
                .filter(|&cut| cut < text.len() && text.is_char_boundary(cut))
                .collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut start = 0;
            for cut in cuts {
                pieces.push(&text[start..cut]);
                start = cut;
            }
            pieces.push(&text[start..]);
            prop_assert_eq!(parse("", &pieces), parse("", &[&text]));
        }
    }
}
