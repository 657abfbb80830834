//! gpt-oss: messages with a header each (`<|start|>role<|channel|>name to=tool<|message|>body<|end|>`).
//!
//! The format is OpenAI's "harmony". The prompt ends with `<|start|>assistant`, so the answer
//! begins inside a header.

use std::sync::LazyLock;

use regex::Regex;

use crate::chat::{Message, ToolCall, ToolCallFunction};
use crate::parser::held::overlap;
use crate::parser::{Follower, ParseError, Parser, Piece, Start};

const START: &str = "<|start|>";
const MESSAGE: &str = "<|message|>";
const END: &str = "<|end|>";
const CHANNEL: &str = "<|channel|>";
const CONSTRAIN: &str = "<|constrain|>";

/// The text before an answer to the user; everything else comes before it.
pub(super) const THINKING: (&str, &str) = ("", "<|channel|>final<|message|>");

/// Special tokens that must arrive as text; the token that ends a call ends the generation instead.
pub(super) const PRESERVED: &[&str] = &[START, END, MESSAGE, CHANNEL, CONSTRAIN];

/// Sender, recipient and channel of a message; empty = not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    pub role: String,
    pub channel: String,
    pub recipient: String,
}

impl Header {
    /// Parses the text between start and message.
    pub fn parse(text: &str) -> Self {
        let mut text = text.replacen(CONSTRAIN, &format!(" {CONSTRAIN}"), 1);
        let mut header = Self::default();
        if let Some((before, after)) = text.split_once(CHANNEL) {
            let end = after.find(char::is_whitespace).unwrap_or(after.len());
            after[..end].clone_into(&mut header.channel);
            text = format!("{before}{}", &after[end..]);
        }
        let mut words = text.split_whitespace();
        let Some(role) = words.next() else {
            return header;
        };
        if let Some(recipient) = role.strip_prefix("to=") {
            recipient.clone_into(&mut header.recipient);
            "tool".clone_into(&mut header.role);
            return header;
        }
        role.clone_into(&mut header.role);
        if let Some(recipient) = words.next().and_then(|word| word.strip_prefix("to=")) {
            recipient.clone_into(&mut header.recipient);
        }
        header
    }
}

/// An event in a stream of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Start,
    Header(Header),
    Body(String),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    BeforeMessage,
    InHeader,
    InBody,
}

/// Splits a stream into messages.
#[derive(Debug)]
pub struct Messages {
    state: State,
    held: String,
}

impl Messages {
    /// A stream that begins with `already`, the part of it that the prompt contains.
    pub fn new(already: &str) -> Self {
        Self {
            state: State::BeforeMessage,
            held: already.to_owned(),
        }
    }

    /// Reads the next piece.
    pub fn push(&mut self, text: &str) -> Vec<Event> {
        self.held.push_str(text);
        let mut events = Vec::new();
        while self.step(&mut events) {}
        events
    }

    /// Ends the stream: returns what was held of a body.
    pub fn finish(&mut self) -> Option<Event> {
        let rest = std::mem::take(&mut self.held);
        (self.state == State::InBody && !rest.is_empty()).then_some(Event::Body(rest))
    }

    fn step(&mut self, events: &mut Vec<Event>) -> bool {
        match self.state {
            State::BeforeMessage => {
                let Some(at) = self.held.find(START) else {
                    // Text between messages is not shown; only a possible beginning of the tag is kept.
                    let keep = overlap(&self.held, START);
                    self.held.drain(..self.held.len() - keep);
                    return false;
                };
                self.held.drain(..at + START.len());
                self.state = State::InHeader;
                events.push(Event::Start);
                true
            }
            State::InHeader => {
                let Some(at) = self.held.find(MESSAGE) else {
                    return false;
                };
                events.push(Event::Header(Header::parse(&self.held[..at])));
                self.held.drain(..at + MESSAGE.len());
                self.state = State::InBody;
                true
            }
            State::InBody => {
                let found = self.held.find(END);
                let end = found.unwrap_or(self.held.len() - overlap(&self.held, END));
                if end > 0 {
                    events.push(Event::Body(self.held.drain(..end).collect()));
                }
                if found.is_none() {
                    return false;
                }
                self.held.drain(..END.len());
                self.state = State::BeforeMessage;
                events.push(Event::End);
                true
            }
        }
    }
}

/// Where a body goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Content,
    Thinking,
    /// A call of this function, with the arguments so far.
    Call(String, String),
}

/// The parser of one answer.
#[derive(Debug)]
pub(super) struct Harmony {
    messages: Messages,
    names: FunctionNames,
    target: Target,
    /// For the current call.
    follower: Follower,
    n_calls: u32,
}

impl Harmony {
    pub(super) fn new(start: &Start<'_>) -> Self {
        let mut names = FunctionNames::default();
        for tool in start.tools {
            names.add(&tool.function.name);
        }
        Self {
            messages: Messages::new(&said(start.last)),
            names,
            target: Target::Content,
            follower: Follower::default(),
            n_calls: 0,
        }
    }

    fn take(&mut self, event: Event, piece: &mut Piece) -> Result<(), ParseError> {
        match event {
            Event::Start => {}
            Event::Header(header) => {
                self.close(piece)?;
                self.target = target(header);
                if let Target::Call(recipient, _) = &self.target {
                    self.follower = Follower::of_arguments(self.function(recipient));
                }
            }
            Event::Body(text) => match &mut self.target {
                Target::Content => piece.content.push_str(&text),
                Target::Thinking => piece.thinking.push_str(&text),
                Target::Call(_, arguments) => {
                    arguments.push_str(&text);
                    if piece.tool_calls.is_empty() {
                        let part = self.follower.read(arguments, self.n_calls, |_, _| true);
                        piece.parts.extend(part);
                    }
                }
            },
            Event::End => self.close(piece)?,
        }
        Ok(())
    }

    /// The function that a message is addressed to.
    fn function<'a>(&'a self, recipient: &'a str) -> &'a str {
        let name = recipient.strip_prefix("functions.").unwrap_or(recipient);
        self.names.original(name)
    }

    /// Ends a message; if it is a call, the call is complete.
    fn close(&mut self, piece: &mut Piece) -> Result<(), ParseError> {
        let Target::Call(recipient, raw) = std::mem::replace(&mut self.target, Target::Content)
        else {
            return Ok(());
        };
        let arguments = serde_json::from_str(&raw).map_err(|error| {
            let error = if error.is_eof() {
                "unexpected end of JSON input".to_owned()
            } else {
                error.to_string()
            };
            ParseError(format!("error parsing tool call: raw='{raw}', err={error}"))
        })?;
        piece.tool_calls.push(ToolCall {
            function: ToolCallFunction {
                index: self.n_calls,
                name: self.function(&recipient).to_owned(),
                arguments,
            },
            ..ToolCall::default()
        });
        self.n_calls += 1;
        Ok(())
    }
}

impl Parser for Harmony {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        let mut piece = Piece::default();
        for event in self.messages.push(text) {
            self.take(event, &mut piece)?;
        }
        Ok(piece)
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let mut piece = Piece::default();
        if let Some(event) = self.messages.finish() {
            self.take(event, &mut piece)?;
        }
        self.close(&mut piece)?;
        Ok(piece)
    }

    fn cut(&mut self) -> Piece {
        let mut piece = Piece::default();
        // Held text may be the beginning of a message's end, so it is dropped.
        let _ = self.messages.finish();
        let _ = self.close(&mut piece);
        piece
    }
}

/// The part of the answer that the prompt contains: at least the speaker.
fn said(last: Option<&Message>) -> String {
    let last = last.filter(|message| message.role == "assistant");
    let channel = match last {
        Some(message) if !message.content.is_empty() => "final",
        Some(message) if !message.thinking.is_empty() => "analysis",
        _ => return format!("{START}assistant"),
    };
    format!("{START}assistant{CHANNEL}{channel}{MESSAGE}")
}

fn target(header: Header) -> Target {
    match header.channel.as_str() {
        "analysis" | "commentary" if !header.recipient.is_empty() => {
            Target::Call(header.recipient, String::new())
        }
        "analysis" => Target::Thinking,
        _ => Target::Content,
    }
}

/// Functions under names that the model can write: TypeScript identifiers.
#[derive(Debug, Clone, Default)]
pub struct FunctionNames {
    /// Identifier and original, in the order in which they were added.
    pairs: Vec<(String, String)>,
}

/// Functions that the model was trained on.
const KNOWN: [&str; 4] = ["browser.open", "browser.search", "browser.find", "python"];

impl FunctionNames {
    /// Adds a function and returns its identifier.
    pub fn add(&mut self, name: &str) -> &str {
        let identifier = if KNOWN.contains(&name) {
            name.to_owned()
        } else {
            self.unused(&identifier(name))
        };
        self.pairs.push((identifier, name.to_owned()));
        self.pairs.last().map_or("", |(identifier, _)| identifier)
    }

    /// The function of an identifier; an unknown identifier stands for itself.
    pub fn original<'a>(&'a self, identifier: &'a str) -> &'a str {
        let mut pairs = self.pairs.iter().rev();
        let found = pairs.find(|(known, _)| known == identifier);
        found.map_or(identifier, |(_, name)| name)
    }

    fn unused(&self, wanted: &str) -> String {
        let is_taken = |name: &str| self.pairs.iter().any(|(known, _)| known == name);
        if !is_taken(wanted) {
            return wanted.to_owned();
        }
        let numbered = (2..).map(|number| format!("{wanted}_{number}"));
        numbered
            .into_iter()
            .find(|name| !is_taken(name))
            .unwrap_or_default()
    }
}

/// Unicode's letters and decimal digits.
static LETTER: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a constant")]
    Regex::new(r"^[\p{L}\p{Nd}]$").expect("a regular expression")
});

fn identifier(name: &str) -> String {
    let keep = |c: char| match c {
        ' ' | '-' | '.' => Some('_'),
        '_' | '$' => Some(c),
        // Letters and digits; symbols that only look like them are dropped.
        c => LETTER.is_match(c.encode_utf8(&mut [0; 4])).then_some(c),
    };
    let identifier: String = name.chars().filter_map(keep).collect();
    match identifier.chars().next() {
        None => "unnamed".to_owned(),
        Some(c) if c.is_ascii_digit() => format!("_{identifier}"),
        Some(_) => identifier,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::cut::{check_cuts, joined};

    fn parse(text: &str) -> Result<Piece, ParseError> {
        joined(&mut Harmony::new(&Start::default()), [text])
    }

    #[test]
    fn channels_become_thinking_content_and_calls() {
        let piece = parse(
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary<|message|>wait<|end|>\
             <|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|>{\"a\":1}<|end|>\
             <|start|>assistant<|channel|>commentary to=functions.g<|constrain|>json<|message|>{}",
        )
        .unwrap();
        assert_eq!(
            (piece.thinking.as_str(), piece.content.as_str()),
            ("hm", "wait")
        );
        let names: Vec<_> = piece
            .tool_calls
            .iter()
            .map(|call| &call.function.name)
            .collect();
        assert_eq!(names, ["f", "g"]);
        assert_eq!(piece.tool_calls[0].function.arguments["a"], 1);
    }

    #[test]
    fn a_broken_call_is_an_error() {
        let error = parse("<|channel|>commentary to=functions.f<|message|>{\"a\":").unwrap_err();
        assert!(
            error
                .0
                .starts_with("error parsing tool call: raw='{\"a\":'"),
            "{error}"
        );
        let error = parse("<|channel|>commentary to=functions.f<|message|>").unwrap_err();
        let expected = "error parsing tool call: raw='', err=unexpected end of JSON input";
        assert_eq!(error.0, expected);
    }

    #[test]
    fn names_come_back() {
        let mut names = FunctionNames::default();
        assert_eq!(names.add("get-weather!"), "get_weather");
        assert_eq!(names.add("get weather"), "get_weather_2");
        assert_eq!(names.add("browser.open"), "browser.open");
        assert_eq!(names.original("get_weather_2"), "get weather");
        assert_eq!(names.original("other"), "other");
    }

    #[test]
    fn cuts_do_not_matter() {
        let new = || Box::new(Harmony::new(&Start::default())) as Box<dyn Parser>;
        check_cuts(
            new,
            r"(<\|channel\|>(analysis|final|commentary)<\|message\|>[a-z <\|é]{0,9}(<\|end\|>[a-z<]{0,2}<\|start\|>assistant)?){1,3}",
        );
    }
}
