//! LFM 2: calls as a list in Python between tokens, sometimes without them.

use crate::chat::ToolCall;
use crate::families::shared::call::{Counter, call};
use crate::families::shared::python::{Strings, arguments, closing};
use crate::families::shared::tagged::{continues_content, thinks_if_asked};
use crate::parser::held::{drive, overlap_any, take_decided};
use crate::parser::{ParseError, Parser, Piece, Start};

const THINK: &str = "<think>";
const THINK_END: &str = "</think>";
const CALLS: &str = "<|tool_call_start|>";
const CALLS_END: &str = "<|tool_call_end|>";

pub(super) const PRESERVED: &[&str] = &[THINK, THINK_END, CALLS, CALLS_END];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The model decides whether it thinks.
    Look,
    ThinkingStart,
    Thinking,
    ContentStart,
    Content,
    Calls,
}

/// The parser of one answer.
#[derive(Debug)]
struct Lfm2 {
    names: Vec<String>,
    state: State,
    held: String,
    /// Content has been passed on, so a call without tags can no longer follow.
    has_content: bool,
    counter: Counter,
}

pub(super) fn instruct(start: &Start<'_>) -> Box<dyn Parser> {
    Box::new(Lfm2::new(start, State::Content))
}

pub(super) fn thinking(start: &Start<'_>) -> Box<dyn Parser> {
    let state = if thinks_if_asked(start) && !continues_content(start) {
        State::Look
    } else {
        State::Content
    };
    Box::new(Lfm2::new(start, state))
}

impl Lfm2 {
    fn new(start: &Start<'_>, state: State) -> Self {
        let names = start.tools.iter().map(|tool| tool.function.name.clone());
        Self {
            names: names.collect(),
            state,
            held: String::new(),
            has_content: false,
            counter: Counter::default(),
        }
    }

    fn step(&mut self, piece: &mut Piece) -> bool {
        match self.state {
            State::Look => {
                let trimmed = self.held.trim_start();
                if let Some(rest) = trimmed.strip_prefix(THINK) {
                    self.held = rest.to_owned();
                    self.state = State::ThinkingStart;
                    return true;
                }
                if THINK.starts_with(trimmed) {
                    return false;
                }
                self.held = trimmed.to_owned();
                self.state = State::Content;
                true
            }
            State::ThinkingStart => self.skip_space(State::Thinking),
            State::ContentStart => self.skip_space(State::Content),
            State::Thinking => {
                let Some(at) = self.held.find(THINK_END) else {
                    piece.thinking += &take_decided(&mut self.held, &[THINK_END]);
                    return false;
                };
                piece.thinking.push_str(self.held[..at].trim_end());
                self.held.drain(..at + THINK_END.len());
                self.state = State::ContentStart;
                true
            }
            State::Content => self.content(piece),
            State::Calls => self.calls(piece),
        }
    }

    fn skip_space(&mut self, next: State) -> bool {
        self.held = self.held.trim_start().to_owned();
        if !self.held.is_empty() {
            self.state = next;
        }
        !self.held.is_empty()
    }

    fn content(&mut self, piece: &mut Piece) -> bool {
        if let Some(at) = self.held.find(CALLS) {
            let before = self.held[..at].trim_end();
            self.has_content |= !before.is_empty();
            piece.content.push_str(before);
            self.held.drain(..at + CALLS.len());
            self.state = State::Calls;
            return true;
        }
        if !self.has_content && self.may_be_bare_calls() {
            return false;
        }
        let decided = take_decided(&mut self.held, &[CALLS]);
        self.has_content |= !decided.is_empty();
        piece.content += &decided;
        false
    }

    /// Whether the text may become calls without their tokens: `[f(`, `f(`.
    fn may_be_bare_calls(&self) -> bool {
        let text = self.held.trim_start();
        let text = text.strip_prefix('[').unwrap_or(text).trim_start();
        let begins = |name: &String| {
            let whole = format!("{name}(");
            text.starts_with(&whole) || whole.starts_with(text)
        };
        self.counter.is_zero() && self.names.iter().any(begins)
    }

    fn calls(&mut self, piece: &mut Piece) -> bool {
        let Some(at) = self.held.find(CALLS_END) else {
            return false;
        };
        let Some(calls) = read(&self.held[..at]) else {
            // Waits for a later end; what can never be read is dropped.
            return false;
        };
        piece.tool_calls.extend(self.counter.number(calls));
        self.held.drain(..at + CALLS_END.len());
        self.state = State::ContentStart;
        true
    }
}

impl Parser for Lfm2 {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.held.push_str(text);
        drive(|piece| Ok(self.step(piece)))
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let rest = std::mem::take(&mut self.held);
        let mut piece = Piece::default();
        match self.state {
            State::Look => rest.trim_start().clone_into(&mut piece.content),
            State::Content => {
                let calls = read(&rest).filter(|calls| {
                    let is_declared = |call: &ToolCall| self.names.contains(&call.function.name);
                    !self.has_content && self.counter.is_zero() && calls.iter().all(is_declared)
                });
                match calls {
                    Some(calls) => piece.tool_calls = self.counter.number(calls),
                    None => piece.content = rest,
                }
            }
            _ => {}
        }
        Ok(piece)
    }

    fn cut(&mut self) -> Piece {
        let text = self.held.trim_start().trim_start_matches('[');
        let begins =
            |name: &String| text.starts_with(&format!("{name}(")) || name.starts_with(text);
        let is_call = self.state == State::Content
            && !self.has_content
            && self.counter.is_zero()
            && self.names.iter().any(begins);
        let mut piece = self.finish().unwrap_or_default();
        if is_call {
            piece.content.clear();
        }
        let n_undecided = overlap_any(&piece.content, &[CALLS, THINK, THINK_END]);
        let n_decided = piece.content.len() - n_undecided;
        piece.content.truncate(n_decided);
        piece
    }
}

/// Reads `[f(a='x'), g()]`, with or without the brackets.
fn read(text: &str) -> Option<Vec<ToolCall>> {
    let text = text.trim();
    let text = text.strip_prefix(CALLS).unwrap_or(text);
    let text = text.strip_suffix(CALLS_END).unwrap_or(text).trim();
    let inside = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let mut rest = inside.unwrap_or(text).trim();
    let mut calls = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('(')?;
        let name = name.trim();
        let end = closing(after)?;
        if name.is_empty() {
            return None;
        }
        calls.push(call(name, arguments(&after[..end], Strings::Verbatim)?));
        rest = after[end + 1..].trim();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim();
    }
    (!calls.is_empty()).then_some(calls)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chat::ToolDefinition;
    use crate::parser::cut::{self, check_cuts};

    fn tools() -> Vec<ToolDefinition> {
        vec![cut::tool(&json!({"name": "f"}))]
    }

    fn parse(text: &str) -> Piece {
        cut::parse(instruct, &tools(), text).unwrap()
    }

    #[test]
    fn calls_with_and_without_tokens() {
        let piece = parse("Ok. <|tool_call_start|>[f(a='x'), g(b=1)]<|tool_call_end|>done");
        assert_eq!(piece.content, "Ok.done");
        assert_eq!(piece.tool_calls.len(), 2);
        assert_eq!(parse("[f(a=1)]").tool_calls.len(), 1);
        assert_eq!(parse("[g(a=1)]").content, "[g(a=1)]");
        assert_eq!(parse("f(x) is a function").content, "f(x) is a function");
    }

    #[test]
    fn cuts_do_not_matter() {
        let tools = tools();
        let start = Start {
            tools: &tools,
            think: Some(crate::chat::Think::On),
            ..Start::default()
        };
        for new in [instruct, thinking] {
            check_cuts(
                || new(&start),
                r"(<think>[a <\n]{0,4}</think>)?[b f(<\n]{0,4}(<\|tool_call_start\|>\[f\(a='[<x]{0,3}'\)\]<\|tool_call_end\|>)?[c \n]{0,3}",
            );
        }
    }
}
