//! Olmo 3: calls as lines of Python between tags, or thinking without calls.

use crate::chat::ToolCall;
use crate::families::shared::call::{Counter, call};
use crate::families::shared::python::{Strings, arguments};
use crate::families::shared::tagged::{Rules, Tagged, begin, continues_content};
use crate::parser::held::overlap;
use crate::parser::{ParseError, Parser, Piece, Start};

const CALLS: &str = "<function_calls>";
const CALLS_END: &str = "</function_calls>";

pub(super) const PRESERVED: &[&str] = &[CALLS, CALLS_END];
pub(super) const PRESERVED_THINK: &[&str] = &["</think>"];

static THINK: Rules = Rules {
    think: ["<think>", "</think>"],
    call: ["", ""],
    drops_echo: false,
    call_ends_thinking: false,
    shows_rest: true,
    read: |_, _| Ok(Vec::new()),
    is_json: false,
    read_unfinished: None,
};

/// The parser for models that always think.
pub(super) fn think(start: &Start<'_>) -> Box<dyn Parser> {
    let begin = begin(start, !continues_content(start));
    Box::new(Tagged::new(&THINK, begin, &[]))
}

pub(super) fn instruct(_: &Start<'_>) -> Box<dyn Parser> {
    Box::new(Olmo::default())
}

/// The parser of one answer; white space is kept in the content.
#[derive(Debug, Default)]
struct Olmo {
    in_calls: bool,
    held: String,
    counter: Counter,
}

impl Parser for Olmo {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.held.push_str(text);
        let mut piece = Piece::default();
        loop {
            let tag = if self.in_calls { CALLS_END } else { CALLS };
            let Some(at) = self.held.find(tag) else {
                break;
            };
            let before: String = self.held.drain(..at + tag.len()).collect();
            let before = &before[..at];
            if self.in_calls {
                match lines(before) {
                    Some(calls) => piece.tool_calls.extend(self.counter.number(calls)),
                    None => tracing::warn!("tool calls could not be read and are left out"),
                }
            } else {
                piece.content.push_str(before);
            }
            self.in_calls = !self.in_calls;
        }
        if !self.in_calls {
            let decided = self.held.len() - overlap(&self.held, CALLS);
            piece.content.extend(self.held.drain(..decided));
        }
        Ok(piece)
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let rest = std::mem::take(&mut self.held);
        Ok(Piece {
            content: if self.in_calls { String::new() } else { rest },
            ..Piece::default()
        })
    }

    fn cut(&mut self) -> Piece {
        // Held text may be the beginning of a tag, so it is dropped.
        self.held.clear();
        Piece::default()
    }
}

/// Reads lines of calls; `None` if one of them is not a call.
fn lines(text: &str) -> Option<Vec<ToolCall>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(line).collect()
}

fn line(line: &str) -> Option<ToolCall> {
    let (name, rest) = line.split_once('(')?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_word) {
        return None;
    }
    let inside = rest.strip_suffix(')')?;
    Some(call(name, arguments(inside, Strings::Unescaped)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::cut::{check_cuts, joined};

    #[test]
    fn lines_are_calls() {
        let text = "Ok.\n<function_calls>\nf(a=\"x\", b=2)\ng()\n</function_calls>done";
        let piece = joined(&mut Olmo::default(), [text]).unwrap();
        assert_eq!(piece.content, "Ok.\ndone");
        assert_eq!(piece.tool_calls.len(), 2);
        assert_eq!(piece.tool_calls[0].function.arguments["b"], 2);
        assert_eq!(piece.tool_calls[1].function.index, 1);
    }

    #[test]
    fn cuts_do_not_matter() {
        check_cuts(
            || Box::new(Olmo::default()),
            r"[a <\n]{0,5}(<function_calls>f\(a='[<x]{0,3}'\)</function_calls>)?[b <f]{0,4}",
        );
        check_cuts(
            || think(&Start::default()),
            r"[a <\n]{0,5}(</think>)?[b <\n]{0,4}",
        );
    }
}
