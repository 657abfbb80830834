//! Answers with calls and tool results between special tokens; Cogito's format is a variant.

use crate::chat::ToolCall;
use crate::families::shared::call::{Counter, call, object};
use crate::families::shared::tagged::{continues_content, earliest, find_from, thinks_if_asked};
use crate::parser::held::{drive, overlap_any};
use crate::parser::{ParseError, Parser, Piece, Start};

const THINK_END: &str = "</think>";
const CALLS: &str = "<｜tool▁calls▁begin｜>";
const CALLS_END: &str = "<｜tool▁calls▁end｜>";
const CALL: &str = "<｜tool▁call▁begin｜>";
const CALL_END: &str = "<｜tool▁call▁end｜>";
pub(in crate::families) const SEPARATOR: &str = "<｜tool▁sep｜>";
const OUTPUT: &str = "<｜tool▁output▁begin｜>";
const OUTPUT_END: &str = "<｜tool▁output▁end｜>";

pub(super) const PRESERVED: &[&str] = &[
    THINK_END, CALLS, CALLS_END, CALL, CALL_END, SEPARATOR, OUTPUT, OUTPUT_END,
];

/// How the formats of `DeepSeek` and Cogito differ.
#[derive(Debug)]
pub(in crate::families) struct Variant {
    /// The tags around a tool result that the model makes up.
    pub(in crate::families) output: [&'static str; 2],
    /// Whether such a result is content; otherwise it is dropped.
    pub(in crate::families) shows_output: bool,
    /// Reads one call.
    pub(in crate::families) read: fn(&str) -> Option<ToolCall>,
}

static DEEPSEEK: Variant = Variant {
    output: [OUTPUT, OUTPUT_END],
    shows_output: true,
    read: read_deepseek,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Thinking,
    ContentStart,
    Content,
    Calls,
    Output,
}

/// The parser of one answer.
#[derive(Debug)]
struct Blocks {
    variant: &'static Variant,
    state: State,
    held: String,
    n_searched: usize,
    counter: Counter,
}

pub(super) fn deepseek(start: &Start<'_>) -> Box<dyn Parser> {
    new(&DEEPSEEK, start, true)
}

/// Makes the parser of one answer; `may_think` = the format allows thinking here.
pub(in crate::families) fn new(
    variant: &'static Variant,
    start: &Start<'_>,
    may_think: bool,
) -> Box<dyn Parser> {
    let wanted = may_think && thinks_if_asked(start) && !continues_content(start);
    Box::new(Blocks {
        variant,
        state: if start.in_thinking.unwrap_or(wanted) {
            State::Thinking
        } else {
            State::Content
        },
        held: String::new(),
        n_searched: 0,
        counter: Counter::default(),
    })
}

impl Blocks {
    fn step(&mut self, piece: &mut Piece) -> bool {
        match self.state {
            State::Thinking => {
                let Some(at) = self.held.find(THINK_END) else {
                    piece.thinking += &self.decided(&[THINK_END]);
                    return false;
                };
                piece.thinking.push_str(self.held[..at].trim_end());
                self.go_on(at + THINK_END.len(), State::ContentStart)
            }
            State::ContentStart => {
                self.held = self.held.trim_start().to_owned();
                if !self.held.is_empty() {
                    self.state = State::Content;
                }
                !self.held.is_empty()
            }
            State::Content => self.content(piece),
            State::Calls => self.calls(piece),
            State::Output => {
                let [_, end] = self.variant.output;
                let Some(at) = find_from(&self.held, end, self.n_searched) else {
                    self.n_searched = self.held.len();
                    return false;
                };
                let next = if self.variant.shows_output {
                    piece.content.push_str(&self.held[..at]);
                    State::Content
                } else {
                    State::ContentStart
                };
                self.go_on(at + end.len(), next)
            }
        }
    }

    fn content(&mut self, piece: &mut Piece) -> bool {
        let [output, _] = self.variant.output;
        let tags = [CALLS, output];
        match earliest(&self.held, &tags) {
            Some((at, tag)) if tag == CALLS => {
                piece.content.push_str(self.held[..at].trim_end());
                self.go_on(at + CALLS.len(), State::Calls)
            }
            Some((at, _)) => {
                let before = &self.held[..at];
                piece.content.push_str(if self.variant.shows_output {
                    before
                } else {
                    before.trim_end()
                });
                self.go_on(at + output.len(), State::Output)
            }
            None => {
                piece.content += &self.decided(&tags);
                false
            }
        }
    }

    fn calls(&mut self, piece: &mut Piece) -> bool {
        let end = find_from(&self.held, CALLS_END, self.n_searched);
        let call_end = find_from(&self.held, CALL_END, self.n_searched);
        let Some(at) = call_end.filter(|at| end.is_none_or(|end| *at < end)) else {
            return match end {
                Some(at) => self.go_on(at + CALLS_END.len(), State::ContentStart),
                None => {
                    self.n_searched = self.held.len();
                    false
                }
            };
        };
        let raw = self.held[..at].split_once(CALL).map(|(_, raw)| raw);
        match raw.and_then(self.variant.read) {
            Some(call) => piece.tool_calls.extend(self.counter.number(vec![call])),
            None => tracing::warn!("a tool call could not be read and is left out"),
        }
        self.go_on(at + CALL_END.len(), State::Calls)
    }

    fn go_on(&mut self, from: usize, state: State) -> bool {
        self.held.drain(..from);
        self.n_searched = 0;
        self.state = state;
        true
    }

    fn decided(&mut self, tags: &[&str]) -> String {
        let end = self.held.len() - overlap_any(&self.held, tags);
        let end = self.held[..end].trim_end().len();
        self.held.drain(..end).collect()
    }
}

impl Parser for Blocks {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.held.push_str(text);
        drive(|piece| Ok(self.step(piece)))
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let rest = std::mem::take(&mut self.held);
        Ok(match self.state {
            State::Content => Piece {
                content: rest,
                ..Piece::default()
            },
            _ => Piece::default(),
        })
    }

    fn cut(&mut self) -> Piece {
        // Held text may be the beginning of a tag, so it is dropped.
        self.held.clear();
        Piece::default()
    }
}

/// `NAME<sep>{…}`
fn read_deepseek(raw: &str) -> Option<ToolCall> {
    let (name, arguments) = raw.split_once(SEPARATOR)?;
    Some(call(name.trim(), object(arguments.trim()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Think;
    use crate::families::cogito::parser::cogito;
    use crate::parser::cut::{check_cuts, joined};

    fn parse(new: fn(&Start<'_>) -> Box<dyn Parser>, text: &str) -> Piece {
        let start = Start {
            think: Some(Think::On),
            ..Start::default()
        };
        joined(&mut *new(&start), [text]).unwrap()
    }

    #[test]
    fn calls_are_read_and_broken_ones_left_out() {
        let text = "hm</think>Yes. <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\":1}<｜tool▁call▁end｜>\
            <｜tool▁call▁begin｜>g<｜tool▁sep｜>{<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
        let piece = parse(deepseek, text);
        assert_eq!(
            (piece.thinking.as_str(), piece.content.as_str()),
            ("hm", "Yes.")
        );
        assert_eq!(piece.tool_calls.len(), 1);
        let text = "</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\":1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
        assert_eq!(parse(cogito, text).tool_calls[0].function.name, "f");
    }

    #[test]
    fn results_that_the_model_makes_up_are_content_or_nothing() {
        let text = "</think>a <｜tool▁output▁begin｜>x<｜tool▁output▁end｜> b";
        assert_eq!(parse(deepseek, text).content, "a x b");
        let text = "</think>a <｜tool▁outputs▁begin｜>x<｜tool▁outputs▁end｜> b";
        assert_eq!(parse(cogito, text).content, "ab");
    }

    #[test]
    fn cuts_do_not_matter() {
        for new in [deepseek, cogito] {
            check_cuts(
                || new(&Start::default()),
                r#"[a <｜\n]{0,6}(</think>)?[b <\n]{0,5}(<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>\{\}<｜tool▁call▁end｜><｜tool▁calls▁end｜>)?[c \n]{0,3}(<｜tool▁outputs?▁begin｜>x<｜tool▁outputs?▁end｜>)?"#,
            );
        }
    }
}
