//! Glimmer: each message has a recipient: `to=self` for thinking, `to=TOOL` with a block of ATEM.
//!
//! The prompt ends with `<|start|>assistant`, so the answer begins inside a header.

use serde_json::Map;

use crate::chat::{ToolCall, ToolDefinition};
use crate::families::shared::call::{Counter, bare_value, call, declared, types};
use crate::families::shared::tagged::{earliest, thinks_by_default};
use crate::parser::held::{drive, overlap, overlap_any};
use crate::parser::{ParseError, Parser, Piece, Start};

const START: &str = "<|start|>";
const MESSAGE: &str = "<|message|>";
const MESSAGE_END: &str = "<|eom|>";
const TURN_END: &str = "<|eot|>";
const ASSISTANT: &str = "<|start|>assistant";

const CALLS: &str = "<atem:function_calls>";
const CALLS_END: &str = "</atem:function_calls>";
const INVOKE: &str = "<atem:invoke name=\"";
const INVOKE_END: &str = "</atem:invoke>";
const PARAMETER: &str = "<atem:parameter name=\"";
const PARAMETER_END: &str = "</atem:parameter>";

/// The text before an answer to the user; everything else comes before it. The prompt has written its beginning.
pub(super) const THINKING: (&str, &str) = ("", "<|start|>assistant<|message|>");

pub(super) const PRESERVED: &[&str] = &[START, MESSAGE, MESSAGE_END, TURN_END];

/// The recipient of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Header,
    Content,
    Thinking,
    /// To the tool of this name.
    Call(String),
}

/// Whether a text that begins like a header is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Valid,
    Invalid,
    Pending,
}

/// The parser of one answer.
#[derive(Debug)]
struct Glimmer {
    tools: Vec<ToolDefinition>,
    shows_thinking: bool,
    state: State,
    held: String,
    /// Some of the message has been shown already, so it cannot be a call.
    has_content: bool,
    counter: Counter,
}

pub(super) fn new(start: &Start<'_>) -> Box<dyn Parser> {
    Box::new(Glimmer {
        tools: start.tools.to_vec(),
        shows_thinking: thinks_by_default(start),
        state: State::Header,
        held: String::new(),
        has_content: false,
        counter: Counter::default(),
    })
}

impl Glimmer {
    fn step(&mut self, done: bool, piece: &mut Piece) -> Result<bool, ParseError> {
        if self.state == State::Header {
            return Ok(self.header(done, piece));
        }
        let (body, is_complete, goes_on) = self.body(done);
        self.take(&body, is_complete, piece)?;
        if is_complete {
            self.state = State::Header;
            self.has_content = false;
        }
        Ok(goes_on)
    }

    fn header(&mut self, done: bool, piece: &mut Piece) -> bool {
        // Nothing is consumed before the header is complete, since its beginning may be repeated.
        let from = match self.held.starts_with(ASSISTANT) {
            true => ASSISTANT.len(),
            false => 0,
        };
        let Some(at) = self.held[from..].find(MESSAGE) else {
            if done {
                piece.content += &self.held[from..];
                self.held.clear();
            }
            return false;
        };
        let at = from + at;
        let header = self.held[from..at].trim();
        let recipient = header
            .strip_prefix("to=")
            .unwrap_or(header)
            .trim()
            .to_owned();
        self.held.drain(..at + MESSAGE.len());
        self.state = if recipient == "self" {
            State::Thinking
        } else if resolve(&self.tools, &recipient).is_some() {
            State::Call(recipient)
        } else {
            State::Content
        };
        true
    }

    /// Takes as much text as certainly belongs to the body. Returns it, whether the body ends there, and whether there
    /// may be more to take.
    fn body(&mut self, done: bool) -> (String, bool, bool) {
        let waits = matches!(self.state, State::Call(_)) || self.may_be_call();
        // Inside a call block, markers are part of values.
        let from = match (waits, self.held.find(CALLS_END)) {
            (false, _) => 0,
            (true, Some(at)) => at + CALLS_END.len(),
            (true, None) => self.held.len(),
        };
        let end = earliest(&self.held[from..], &[MESSAGE_END, TURN_END]);
        let end = end.map(|(at, tag)| (from + at, tag.len()));
        let next = self.next_header(from, done);
        if let Some((at, Status::Valid)) = next
            && end.is_none_or(|(end, _)| at < end)
        {
            return (self.held.drain(..at).collect(), true, true);
        }
        if let Some((at, length)) = end {
            let body = self.held.drain(..at).collect();
            self.held.drain(..length);
            return (body, true, true);
        }
        if done {
            let body = std::mem::take(&mut self.held);
            let is_call = matches!(self.state, State::Call(_));
            let goes_on = !body.is_empty() || is_call;
            return (body, true, goes_on);
        }
        if waits {
            return (String::new(), false, false);
        }
        let decided = match next {
            Some((at, _)) => at,
            None => self.held.len() - overlap_any(&self.held, &[MESSAGE_END, TURN_END]),
        };
        (self.held.drain(..decided).collect(), false, false)
    }

    fn take(&mut self, body: &str, is_complete: bool, piece: &mut Piece) -> Result<(), ParseError> {
        match &self.state {
            State::Header => {}
            State::Content => match self.misdirected(body, is_complete) {
                Some(call) => piece.tool_calls.extend(self.counter.number(vec![call])),
                None if body.is_empty() => {}
                None => {
                    piece.content.push_str(body);
                    self.has_content = true;
                }
            },
            State::Thinking => {
                if self.shows_thinking {
                    piece.thinking.push_str(body);
                }
            }
            State::Call(recipient) if is_complete => {
                let call = self.call(recipient, body)?;
                piece.tool_calls.extend(self.counter.number(vec![call]));
            }
            State::Call(_) => {}
        }
        Ok(())
    }

    /// A header in the middle of a body: the model forgot to end the message.
    fn next_header(&self, from: usize, done: bool) -> Option<(usize, Status)> {
        let mut search = from;
        while let Some(at) = self.held[search..].find(START) {
            let at = search + at;
            match self.status(&self.held[at..], done) {
                Status::Invalid => search = at + START.len(),
                status => return Some((at, status)),
            }
        }
        if done {
            return None;
        }
        let keep = overlap(&self.held[search..], ASSISTANT);
        (keep > 0).then(|| (self.held.len() - keep, Status::Pending))
    }

    fn status(&self, text: &str, done: bool) -> Status {
        let pending = if done {
            Status::Invalid
        } else {
            Status::Pending
        };
        let Some(rest) = text.strip_prefix(ASSISTANT) else {
            return if ASSISTANT.starts_with(text) {
                pending
            } else {
                Status::Invalid
            };
        };
        if rest.starts_with(MESSAGE) {
            return Status::Valid;
        }
        const TO: &str = " to=";
        if MESSAGE.starts_with(rest) || TO.starts_with(rest) {
            return pending;
        }
        let Some(recipient) = rest.strip_prefix(TO) else {
            return Status::Invalid;
        };
        if let Some((recipient, _)) = recipient.split_once(MESSAGE) {
            let is_known = matches!(recipient, "self" | "user")
                || declared(&self.tools, recipient).is_some_and(|_| !recipient.is_empty());
            return if is_known {
                Status::Valid
            } else {
                Status::Invalid
            };
        }
        let blank = recipient.contains([' ', '\t', '\r', '\n']);
        let tag = recipient.find('<').map(|at| &recipient[at..]);
        if blank || tag.is_some_and(|tag| !MESSAGE.starts_with(tag)) {
            return Status::Invalid;
        }
        pending
    }

    /// Content that begins like a call: the model named the wrong recipient.
    fn may_be_call(&self) -> bool {
        let text = self.held.trim_start_matches([' ', '\t', '\r', '\n']);
        self.state == State::Content
            && !self.has_content
            && !self.tools.is_empty()
            && (CALLS.starts_with(text) || text.starts_with(CALLS))
    }

    fn misdirected(&self, body: &str, is_complete: bool) -> Option<ToolCall> {
        if !is_complete || self.has_content || self.tools.is_empty() {
            return None;
        }
        let block = Block::split(body).ok()?;
        let tool = resolve(&self.tools, &block.name)?;
        Some(call(
            tool.function.name.clone(),
            block.arguments(tool).ok()?,
        ))
    }

    fn call(&self, recipient: &str, body: &str) -> Result<ToolCall, ParseError> {
        let failed =
            |reason: &str| ParseError(format!("parse Glimmer call to {recipient}: {reason}"));
        let tool = resolve(&self.tools, recipient)
            .ok_or_else(|| ParseError(format!("undeclared Glimmer function {recipient:?}")))?;
        let block = Block::split(body).map_err(failed)?;
        let arguments = block.arguments(tool).map_err(failed)?;
        let invoked = resolve(&self.tools, &block.name);
        if invoked.is_none_or(|invoked| invoked.function.name != tool.function.name) {
            return Err(ParseError(format!(
                "Glimmer recipient {recipient:?} does not match ATEM invoke {:?}",
                block.name
            )));
        }
        Ok(call(tool.function.name.clone(), arguments))
    }
}

impl Parser for Glimmer {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.held.push_str(text);
        drive(|piece| self.step(false, piece))
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        drive(|piece| self.step(true, piece))
    }

    fn cut(&mut self) -> Piece {
        // An incomplete header or call is not shown.
        let is_call = matches!(self.state, State::Header | State::Call(_)) || self.may_be_call();
        if is_call {
            self.held.clear();
            return Piece::default();
        }
        self.finish().unwrap_or_default()
    }
}

/// The declared tool of a name; `read.read` is `read` if the namespace equals the tool's name.
fn resolve<'a>(tools: &'a [ToolDefinition], name: &str) -> Option<&'a ToolDefinition> {
    let find = |name: &str| {
        let mut tools = tools.iter();
        tools.find(|tool| !name.is_empty() && tool.function.name.trim() == name)
    };
    find(name).or_else(|| {
        let (namespace, function) = name.split_once('.')?;
        let own = function.split('.').next().unwrap_or_default();
        find(function).filter(|_| own == namespace)
    })
}

/// `<atem:function_calls><atem:invoke name="…">parameters</atem:invoke></atem:function_calls>`
struct Block<'a> {
    name: String,
    parameters: &'a str,
}

impl<'a> Block<'a> {
    fn split(body: &'a str) -> Result<Self, &'static str> {
        let inside = body.trim().strip_prefix(CALLS);
        let inside = inside.and_then(|text| text.strip_suffix(CALLS_END));
        let inside = inside.ok_or("missing ATEM function_calls wrapper")?.trim();
        let invoke = inside
            .strip_prefix(INVOKE)
            .filter(|_| inside.ends_with(INVOKE_END));
        let invoke = invoke.ok_or("missing ATEM invoke wrapper")?;
        let (name, rest) = invoked_name(invoke).ok_or("malformed ATEM invoke name")?;
        let parameters = rest
            .strip_suffix(INVOKE_END)
            .ok_or("malformed ATEM invoke name")?;
        let parameters = parameters.strip_prefix('\n').unwrap_or(parameters);
        Ok(Self {
            name,
            parameters: parameters.strip_suffix('\n').unwrap_or(parameters),
        })
    }

    fn arguments(
        &self,
        tool: &ToolDefinition,
    ) -> Result<Map<String, serde_json::Value>, &'static str> {
        let mut arguments = Map::new();
        let mut rest = self.parameters;
        while !rest.is_empty() {
            let after = rest
                .strip_prefix(PARAMETER)
                .ok_or("malformed ATEM parameter")?;
            let (name, after) = after
                .split_once("\">")
                .ok_or("malformed ATEM parameter name")?;
            let (value, after) = after
                .split_once(PARAMETER_END)
                .ok_or("unterminated ATEM parameter")?;
            arguments.insert(name.to_owned(), bare_value(value, &types(Some(tool), name)));
            rest = after.strip_prefix('\n').unwrap_or(after);
        }
        Ok(arguments)
    }
}

/// The name up to `">`; the model sometimes writes the token between header and body into it, or in place of its end.
fn invoked_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (at, tag) = earliest(rest, &["\">", MESSAGE])?;
        name.push_str(&rest[..at]);
        rest = &rest[at + tag.len()..];
        if tag != MESSAGE || rest.starts_with(PARAMETER) {
            return Some((name, rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::parser::cut::{self, check_cuts};

    fn tools() -> Vec<ToolDefinition> {
        vec![cut::tool(&json!({"name": "read", "parameters":
            {"type": "object", "properties": {"n": {"type": "integer"}}}}))]
    }

    fn parse(text: &str) -> Result<Piece, ParseError> {
        cut::parse(new, &tools(), text)
    }

    const BLOCK: &str = "<atem:function_calls>\n<atem:invoke name=\"read\">\n<atem:parameter name=\"n\">3</atem:parameter>\n</atem:invoke>\n</atem:function_calls>";

    #[test]
    fn messages_go_to_their_recipients() {
        let text = format!(
            " to=self<|message|>hm<|eom|><|start|>assistant to=user<|message|>Ok.<|eom|><|start|>assistant to=read<|message|>{BLOCK}<|eot|>"
        );
        let piece = parse(&text).unwrap();
        assert_eq!(
            (piece.thinking.as_str(), piece.content.as_str()),
            ("hm", "Ok.")
        );
        assert_eq!(piece.tool_calls[0].function.arguments["n"], 3);
    }

    #[test]
    fn a_call_to_the_wrong_recipient_is_still_one() {
        for header in ["", " to=user", " to=read.read"] {
            let piece = parse(&format!("{header}<|message|>{BLOCK}<|eot|>")).unwrap();
            assert_eq!(piece.tool_calls[0].function.name, "read", "{header}");
        }
        assert!(parse(" to=read<|message|>nothing<|eot|>").is_err());
    }

    #[test]
    fn cuts_do_not_matter() {
        let tools = tools();
        let start = Start {
            tools: &tools,
            ..Start::default()
        };
        check_cuts(
            || new(&start),
            r"(<\|start\|>assistant){0,3}( to=self<\|message\|>[a <]{0,3}(<\|eom\|>)?<\|start\|>assistant)?( to=user)?<\|message\|>[b <|]{0,4}(<\|eot\|>)?",
        );
    }
}
