//! Gemma 4: thinking in a channel, calls in the model's own syntax ([`arguments`]).

mod arguments;
mod repair;

use crate::chat::{ToolCall, ToolDefinition};
use crate::families::shared::call::{Counter, call, declared};
use crate::families::shared::tagged::{earliest, find_from, thinks_if_asked};
use crate::parser::held::{drive, overlap_any, take_decided};
use crate::parser::{ParseError, Parser, Piece, Start};

const CHANNEL: &str = "<|channel>";
const CHANNEL_END: &str = "<channel|>";
const CALL: &str = "<|tool_call>";
const CALL_END: &str = "<tool_call|>";
const RESPONSE: &str = "<|tool_response>";
const QUOTE: &str = "<|\"|>";

pub(super) const PRESERVED: &[&str] = &[CHANNEL, CHANNEL_END, CALL, CALL_END, RESPONSE, QUOTE];

/// The name of the channel for thinking.
const THOUGHT: &str = "thought\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Content,
    /// After a channel's tag: its name.
    ChannelName,
    Thinking,
    /// White space after thinking is dropped.
    ContentStart,
    Call,
    /// After a call: tags that close nothing are dropped.
    AfterCall,
}

/// The parser of one answer.
#[derive(Debug)]
struct Gemma4 {
    tools: Vec<ToolDefinition>,
    shows_thinking: bool,
    state: State,
    held: String,
    n_searched: usize,
    counter: Counter,
}

pub(super) fn new(start: &Start<'_>) -> Box<dyn Parser> {
    let thinks = thinks_if_asked(start);
    let after_tool = start.last.is_some_and(|last| last.role == "tool");
    let state = if thinks && after_tool {
        State::Thinking
    } else {
        State::Content
    };
    Box::new(Gemma4::new(start, thinks, state))
}

/// A parser that drops thinking.
pub(super) fn without_thinking(start: &Start<'_>) -> Box<dyn Parser> {
    Box::new(Gemma4::new(start, false, State::Content))
}

impl Gemma4 {
    fn new(start: &Start<'_>, shows_thinking: bool, state: State) -> Self {
        Self {
            tools: start.tools.to_vec(),
            shows_thinking,
            state,
            held: String::new(),
            n_searched: 0,
            counter: Counter::default(),
        }
    }

    fn step(&mut self, piece: &mut Piece) -> bool {
        match self.state {
            State::Content => {
                let tags = [CHANNEL, CALL];
                let Some((at, tag)) = earliest(&self.held, &tags) else {
                    piece.content += &take_decided(&mut self.held, &tags);
                    return false;
                };
                piece.content.push_str(self.held[..at].trim_end());
                let next = if tag == CALL {
                    State::Call
                } else {
                    State::ChannelName
                };
                self.go_on(at + tag.len(), next)
            }
            State::ChannelName => {
                if self.held.starts_with(THOUGHT) {
                    return self.go_on(THOUGHT.len(), State::Thinking);
                }
                if THOUGHT.starts_with(&self.held) {
                    return false;
                }
                self.go_on(0, State::Thinking)
            }
            State::Thinking => {
                let Some(at) = self.held.find(CHANNEL_END) else {
                    let thinking = take_decided(&mut self.held, &[CHANNEL_END]);
                    self.think(piece, &thinking);
                    return false;
                };
                let thinking = self.held[..at].trim_end().to_owned();
                self.think(piece, &thinking);
                self.go_on(at + CHANNEL_END.len(), State::ContentStart)
            }
            State::ContentStart => {
                self.skip_space();
                !self.held.is_empty() && self.go_on(0, State::Content)
            }
            State::Call => {
                let Some(at) = find_from(&self.held, CALL_END, self.n_searched) else {
                    self.n_searched = self.held.len();
                    return false;
                };
                let raw = self.held[..at].to_owned();
                self.take_call(piece, &raw);
                self.go_on(at + CALL_END.len(), State::AfterCall)
            }
            State::AfterCall => self.after_call(),
        }
    }

    fn after_call(&mut self) -> bool {
        self.skip_space();
        let noise = [CALL_END, RESPONSE];
        if let Some(tag) = noise.iter().find(|tag| self.held.starts_with(**tag)) {
            return self.go_on(tag.len(), State::AfterCall);
        }
        if noise.iter().any(|tag| tag.starts_with(&self.held)) {
            return false;
        }
        self.go_on(0, State::Content)
    }

    fn think(&self, piece: &mut Piece, text: &str) {
        if self.shows_thinking {
            piece.thinking.push_str(text);
        }
    }

    fn take_call(&mut self, piece: &mut Piece, raw: &str) {
        match read(raw, &self.tools) {
            Some(call) => piece.tool_calls.extend(self.counter.number(vec![call])),
            None => tracing::warn!("a tool call could not be read and is left out"),
        }
    }

    fn skip_space(&mut self) {
        let blank = self.held.len() - self.held.trim_start().len();
        self.held.drain(..blank);
    }

    fn go_on(&mut self, from: usize, state: State) -> bool {
        self.held.drain(..from);
        self.n_searched = 0;
        self.state = state;
        true
    }
}

impl Parser for Gemma4 {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.held.push_str(text);
        drive(|piece| Ok(self.step(piece)))
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let rest = std::mem::take(&mut self.held);
        let mut piece = Piece::default();
        match self.state {
            State::Content => piece.content = rest,
            State::ChannelName | State::Thinking => self.think(&mut piece, &rest),
            // A stop token may come before the closing tag.
            State::Call => {
                let cut = rest.len() - overlap_any(&rest, &[CALL_END]);
                if cut > 0 {
                    self.take_call(&mut piece, &rest[..cut]);
                }
            }
            State::ContentStart | State::AfterCall => {}
        }
        Ok(piece)
    }

    fn cut(&mut self) -> Piece {
        // Held text may be the beginning of a tag, and a call is repaired only at its end. So both are dropped.
        let rest = self.finish().unwrap_or_default();
        Piece {
            thinking: rest.thinking,
            ..Piece::default()
        }
    }
}

/// Reads `call:NAME{…}`; arguments that cannot be read are repaired if the repair is unambiguous.
fn read(raw: &str, tools: &[ToolDefinition]) -> Option<ToolCall> {
    let rest = raw.strip_prefix("call:")?;
    let brace = rest.find('{')?;
    let name = rest[..brace].trim();
    let text = &rest[brace..];
    let arguments = arguments::read(text).or_else(|| {
        let mut candidates = repair::candidates(text, declared(tools, name)).into_iter();
        candidates.find_map(|candidate| arguments::read(&candidate))
    })?;
    Some(call(name, arguments))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chat::Think;
    use crate::parser::cut::{check_cuts, joined};

    fn parse(text: &str) -> Piece {
        let tool = json!({"type": "function", "function": {"name": "f", "parameters":
            {"type": "object", "properties": {"s": {"type": "string"}, "n": {"type": "integer"}}}}});
        let tools = [serde_json::from_value(tool).unwrap()];
        let start = Start {
            tools: &tools,
            think: Some(Think::On),
            ..Start::default()
        };
        joined(&mut *new(&start), [text]).unwrap()
    }

    #[test]
    fn channels_and_calls() {
        let piece = parse(
            "<|channel>thought\nhm\n<channel|>\nOk. <|tool_call>call:f{s:<|\"|>a{b<|\"|>,n:2,l:[1,{k:true}]}<tool_call|><tool_call|>done",
        );
        assert_eq!(
            (piece.thinking.as_str(), piece.content.as_str()),
            ("hm", "Ok.done")
        );
        assert_eq!(
            json!(piece.tool_calls[0].function.arguments),
            json!({"s": "a{b", "n": 2, "l": [1, {"k": true}]})
        );
    }

    #[test]
    fn broken_arguments_are_mended() {
        for text in [
            "call:f{s:<|\"|>a}<tool_call|>",
            "call:f{s:'a'}<tool_call|>",
            "call:f{s:<|\"|>a",
            "call:f{s:a}<tool_call|>",
        ] {
            let piece = parse(&format!("<|tool_call>{text}"));
            assert_eq!(piece.tool_calls[0].function.arguments["s"], "a", "{text}");
        }
    }

    #[test]
    fn cuts_do_not_matter() {
        for new in [new, without_thinking] {
            check_cuts(
                || new(&Start::default()),
                r#"[a <\n]{0,3}(<\|channel>(thought\n)?[b <\n]{0,4}<channel\|>)?[c \n]{0,2}(<\|tool_call>call:f\{a:<\|"\|>[<x]{0,2}<\|"\|>\}(<tool_call\|>){0,2}( ?<\|tool_response>)?)?[d <\n]{0,3}"#,
            );
        }
    }
}
