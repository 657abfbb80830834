//! The common format: thinking, content and calls, each between its own tags.
//!
//! White space before and after a tag belongs to neither side, so it is held until it is known what follows.

use super::call::Counter;
use crate::chat::{Think, ToolCall, ToolDefinition};
use crate::parser::held::{drive, take_decided};
use crate::parser::{Follower, ParseError, Parser, Piece, Start};

/// Reads the text between a call's tags.
pub(in crate::families) type ReadCalls =
    fn(&str, &[ToolDefinition]) -> Result<Vec<ToolCall>, ParseError>;

/// What a family writes. Empty tags = it has no such part.
#[derive(Debug, Clone, Copy)]
pub(in crate::families) struct Rules {
    pub(in crate::families) think: [&'static str; 2],
    pub(in crate::families) call: [&'static str; 2],
    /// Drops the opening tag if the model repeats it after the prompt.
    pub(in crate::families) drops_echo: bool,
    /// Whether a call ends thinking that was not closed.
    pub(in crate::families) call_ends_thinking: bool,
    /// Whether text that is held at the end of the answer is shown; otherwise it is dropped.
    pub(in crate::families) shows_rest: bool,
    pub(in crate::families) read: ReadCalls,
    /// Calls are `{"name": …, "arguments": {…}}`.
    pub(in crate::families) is_json: bool,
    /// Reads a call whose closing tag never came; `None` = such a call is dropped.
    pub(in crate::families) read_unfinished: Option<ReadCalls>,
}

/// Where an answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::families) enum Begin {
    Content,
    /// The prompt has opened thinking.
    Thinking,
    /// The model decides: an opening tag may come.
    Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Look,
    Echo,
    ThinkingStart,
    Thinking,
    ContentStart,
    Content,
    Call,
}

/// The parser of one answer.
#[derive(Debug)]
pub(in crate::families) struct Tagged {
    rules: &'static Rules,
    tools: Vec<ToolDefinition>,
    state: State,
    held: String,
    /// How much of a call has already been searched for its end.
    n_searched: usize,
    counter: Counter,
    follower: Follower,
}

impl Tagged {
    pub(in crate::families) fn new(
        rules: &'static Rules,
        begin: Begin,
        tools: &[ToolDefinition],
    ) -> Self {
        Self {
            rules,
            tools: tools.to_vec(),
            state: match begin {
                Begin::Content => State::Content,
                Begin::Thinking if rules.drops_echo => State::Echo,
                Begin::Thinking => State::Thinking,
                Begin::Look => State::Look,
            },
            held: String::new(),
            n_searched: 0,
            counter: Counter::default(),
            follower: Follower::default(),
        }
    }

    fn step(&mut self, piece: &mut Piece) -> Result<bool, ParseError> {
        match self.state {
            State::Look => Ok(self.opening(State::Content)),
            State::Echo => Ok(self.opening(State::Thinking)),
            State::ThinkingStart => Ok(self.skip_space(State::Thinking)),
            State::ContentStart => Ok(self.skip_space(State::Content)),
            State::Thinking => Ok(self.thinking(piece)),
            State::Content => Ok(self.content(piece)),
            State::Call => self.call(piece),
        }
    }

    /// Takes an opening tag, or goes on without one.
    fn opening(&mut self, otherwise: State) -> bool {
        let open = self.rules.think[0];
        let trimmed = self.held.trim_start();
        if let Some(rest) = trimmed.strip_prefix(open).filter(|_| !open.is_empty()) {
            self.held = rest.to_owned();
            self.state = State::ThinkingStart;
            return true;
        }
        if trimmed.is_empty() || open.starts_with(trimmed) {
            return false;
        }
        self.state = otherwise;
        true
    }

    fn skip_space(&mut self, next: State) -> bool {
        self.held = self.held.trim_start().to_owned();
        if self.held.is_empty() {
            return false;
        }
        self.state = next;
        true
    }

    fn thinking(&mut self, piece: &mut Piece) -> bool {
        let [_, close] = self.rules.think;
        let [call, _] = self.rules.call;
        let tags: &[&str] = if self.rules.call_ends_thinking {
            &[close, call]
        } else {
            &[close]
        };
        let Some((at, tag)) = earliest(&self.held, tags) else {
            piece.thinking += &take_decided(&mut self.held, tags);
            return false;
        };
        piece.thinking.push_str(self.held[..at].trim_end());
        self.held.drain(..at + tag.len());
        self.state = if tag == close {
            State::ContentStart
        } else {
            State::Call
        };
        true
    }

    fn content(&mut self, piece: &mut Piece) -> bool {
        let [open, _] = self.rules.call;
        let tags: &[&str] = if open.is_empty() { &[] } else { &[open] };
        let Some((at, tag)) = earliest(&self.held, tags) else {
            piece.content += &take_decided(&mut self.held, tags);
            return false;
        };
        piece.content.push_str(self.held[..at].trim_end());
        self.held.drain(..at + tag.len());
        self.state = State::Call;
        true
    }

    fn call(&mut self, piece: &mut Piece) -> Result<bool, ParseError> {
        let [_, close] = self.rules.call;
        let end = find_from(&self.held, close, self.n_searched);
        let is_followed = end.is_none() || self.follower.has_begun();
        if self.rules.is_json && is_followed && piece.tool_calls.is_empty() {
            let text = &self.held[..end.unwrap_or(self.held.len())];
            let part = self.follower.read(text, self.counter.next(), |_, _| true);
            piece.parts.extend(part);
        }
        let Some(at) = end else {
            self.n_searched = self.held.len();
            return Ok(false);
        };
        self.follower = Follower::default();
        let calls = (self.rules.read)(&self.held[..at], &self.tools)?;
        piece.tool_calls.extend(self.counter.number(calls));
        self.held.drain(..at + close.len());
        self.n_searched = 0;
        self.state = State::ContentStart;
        Ok(true)
    }
}

impl Parser for Tagged {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.held.push_str(text);
        drive(|piece| self.step(piece))
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let rest = std::mem::take(&mut self.held);
        let mut piece = Piece::default();
        match self.state {
            State::Call => {
                if let Some(read) = self.rules.read_unfinished {
                    let calls = read(&rest, &self.tools)?;
                    piece.tool_calls = self.counter.number(calls);
                }
            }
            _ if !self.rules.shows_rest => {}
            State::Look => rest.trim_start().clone_into(&mut piece.content),
            State::Content => piece.content = rest,
            State::Echo | State::ThinkingStart | State::Thinking => piece.thinking = rest,
            State::ContentStart => {}
        }
        Ok(piece)
    }

    fn cut(&mut self) -> Piece {
        // Held text may be the beginning of a tag, so it is dropped.
        let rest = std::mem::take(&mut self.held);
        let read = self
            .rules
            .read_unfinished
            .filter(|_| self.state == State::Call);
        let calls = read.and_then(|read| read(&rest, &self.tools).ok());
        Piece {
            tool_calls: self.counter.number(calls.unwrap_or_default()),
            ..Piece::default()
        }
    }
}

/// The tag that comes first, and its position.
pub(in crate::families) fn earliest<'a>(text: &str, tags: &[&'a str]) -> Option<(usize, &'a str)> {
    let found = tags.iter().filter_map(|tag| Some((text.find(tag)?, *tag)));
    found.min_by_key(|(at, _)| *at)
}

/// Looks for a tag that is not completely before `searched`.
pub(in crate::families) fn find_from(text: &str, tag: &str, searched: usize) -> Option<usize> {
    let mut start = searched.saturating_sub(tag.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    Some(start + text[start..].find(tag)?)
}

/// Whether the answer continues an assistant's text: then thinking is over.
pub(in crate::families) fn continues_content(start: &Start<'_>) -> bool {
    start
        .last
        .is_some_and(|last| last.role == "assistant" && !last.content.is_empty())
}

/// Where an answer begins for families whose prompt opens thinking if it is `wanted`. The prompt itself takes
/// precedence, where it tells.
pub(in crate::families) fn begin(start: &Start<'_>, wanted: bool) -> Begin {
    if start.in_thinking.unwrap_or(wanted) {
        Begin::Thinking
    } else {
        Begin::Content
    }
}

/// Whether thinking is on, for families that think by default.
pub(in crate::families) fn thinks_by_default(start: &Start<'_>) -> bool {
    start.think.is_none_or(Think::is_on)
}

/// Whether the request asks for thinking.
pub(in crate::families) fn thinks_if_asked(start: &Start<'_>) -> bool {
    start.think.is_some_and(Think::is_on)
}
