//! Laguna and Poolside: calls in several formats, by tag or as bare JSON.

use serde::Deserialize;
use serde_json::Map;

use crate::chat::{ToolCall, ToolDefinition};
use crate::families::shared::call::{Counter, call, declared, object, typed_value, types};
use crate::families::shared::tagged::{earliest, find_from, thinks_if_asked};
use crate::parser::held::{drive, take_decided};
use crate::parser::tool_calls::begins_like_call;
use crate::parser::{ParseError, Parser, Piece, Start};

const THINK: &str = "<think>";
const THINK_END: &str = "</think>";
const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";
/// Some models write calls as if the user did.
const USER: &str = "<user>";
const USER_END: &str = "</user>";
const KEY: &str = "<arg_key>";
const KEY_END: &str = "</arg_key>";
const VALUE: &str = "<arg_value>";
const VALUE_END: &str = "</arg_value>";

pub(super) const PRESERVED: &[&str] = &[
    THINK, THINK_END, CALL, CALL_END, USER, USER_END, KEY, KEY_END, VALUE, VALUE_END,
];

/// Names from training, and the names that clients use for the same tools.
const ALIASES: [(&str, &str); 4] = [
    ("read_file", "read"),
    ("write_file", "write"),
    ("edit_file", "edit"),
    ("web_fetch", "webfetch"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The prompt has opened thinking; the model may repeat the tag.
    Echo,
    ThinkingStart,
    Thinking,
    /// White space, and a closing tag without an opening one, are dropped.
    ContentStart,
    Content,
    Call,
    /// After `<user>`.
    User,
    /// After a brace that may begin a call.
    Json,
}

/// The parser of one answer.
#[derive(Debug)]
struct Laguna {
    tools: Vec<ToolDefinition>,
    shows_thinking: bool,
    state: State,
    held: String,
    n_searched: usize,
    counter: Counter,
}

pub(super) fn laguna(start: &Start<'_>) -> Box<dyn Parser> {
    let continues = start.last.is_some_and(|last| last.role == "assistant");
    new(start, continues)
}

pub(super) fn poolside(start: &Start<'_>) -> Box<dyn Parser> {
    new(start, false)
}

fn new(start: &Start<'_>, continues: bool) -> Box<dyn Parser> {
    let thinks = thinks_if_asked(start);
    let inside = start.in_thinking.unwrap_or(thinks && !continues);
    Box::new(Laguna {
        tools: start.tools.to_vec(),
        shows_thinking: thinks,
        state: if inside {
            State::Echo
        } else {
            State::ContentStart
        },
        held: String::new(),
        n_searched: 0,
        counter: Counter::default(),
    })
}

impl Laguna {
    fn step(&mut self, piece: &mut Piece) -> Result<bool, ParseError> {
        Ok(match self.state {
            State::Echo => {
                self.skip_space();
                if self.held.starts_with(THINK) {
                    self.go_on(THINK.len(), State::ThinkingStart)
                } else {
                    !THINK.starts_with(&self.held) && self.go_on(0, State::Thinking)
                }
            }
            State::ThinkingStart => {
                self.skip_space();
                !self.held.is_empty() && self.go_on(0, State::Thinking)
            }
            State::Thinking => self.thinking(piece),
            State::ContentStart => {
                self.skip_space();
                if self.held.starts_with(THINK_END) {
                    self.go_on(THINK_END.len(), State::ContentStart)
                } else {
                    !THINK_END.starts_with(&self.held) && self.go_on(0, State::Content)
                }
            }
            State::Content => self.content(piece),
            State::Call => {
                let Some(at) = find_from(&self.held, CALL_END, self.n_searched) else {
                    self.n_searched = self.held.len();
                    return Ok(false);
                };
                let read = read(&self.held[..at], &self.tools)?;
                piece.tool_calls.extend(self.counter.number(vec![read]));
                self.go_on(at + CALL_END.len(), State::ContentStart)
            }
            State::User => self.user(piece),
            State::Json => self.json(piece)?,
        })
    }

    fn thinking(&mut self, piece: &mut Piece) -> bool {
        let tags = [THINK_END, CALL];
        let Some((at, tag)) = earliest(&self.held, &tags) else {
            let text = take_decided(&mut self.held, &tags);
            self.think(piece, &text);
            return false;
        };
        let text = self.held[..at].trim_end().to_owned();
        self.think(piece, &text);
        let next = if tag == CALL {
            State::Call
        } else {
            State::ContentStart
        };
        self.go_on(at + tag.len(), next)
    }

    fn content(&mut self, piece: &mut Piece) -> bool {
        let has_tools = !self.tools.is_empty();
        let tags: &[&str] = if has_tools {
            &[THINK, CALL, USER, "{"]
        } else {
            &[THINK, CALL]
        };
        let Some((at, tag)) = earliest(&self.held, tags) else {
            piece.content += &take_decided(&mut self.held, tags);
            return false;
        };
        let before = &self.held[..at];
        match tag {
            THINK => {
                piece.content.push_str(before);
                self.go_on(at + tag.len(), State::ThinkingStart)
            }
            CALL => {
                piece.content.push_str(before.trim_end());
                self.go_on(at + tag.len(), State::Call)
            }
            // The text before is certainly content; the white space at its end only if no call follows.
            _ => {
                let text = before.trim_end();
                piece.content.push_str(text);
                let cut = text.len();
                let next = if tag == USER {
                    State::User
                } else {
                    State::Json
                };
                self.go_on(cut, next)
            }
        }
    }

    /// Reads a call between the user's tags; anything else is content.
    fn user(&mut self, piece: &mut Piece) -> bool {
        let Some(end) = self.held.find(USER_END) else {
            return false;
        };
        let start = self.held.find(USER).map_or(0, |at| at + USER.len());
        let raw = clean(&self.held[start..end]);
        let is_known = name_of(&raw)
            .is_some_and(|name| declared(&self.tools, resolve(&name, &self.tools)).is_some());
        match read(&raw, &self.tools) {
            Ok(call) if is_known => {
                piece.tool_calls.extend(self.counter.number(vec![call]));
                self.go_on(end + USER_END.len(), State::ContentStart)
            }
            _ => {
                let text: String = self.held.drain(..end + USER_END.len()).collect();
                piece.content.push_str(&text);
                self.go_on(0, State::Content)
            }
        }
    }

    /// Reads a bare object, if it looks like a call and is complete; anything else is content.
    fn json(&mut self, piece: &mut Piece) -> Result<bool, ParseError> {
        let blank = self.held.len() - self.held.trim_start().len();
        let text = &self.held[blank..];
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
        let end = match values.next() {
            Some(Ok(_)) => blank + values.byte_offset(),
            Some(Err(error)) if error.is_eof() => return Ok(false),
            _ => {
                // Not an object: skip one character.
                let text: String = self.held.drain(..=blank).collect();
                piece.content.push_str(&text);
                return Ok(self.go_on(0, State::Content));
            }
        };
        let raw = &self.held[blank..end];
        if raw.contains("\"name\"") || raw.contains("\"arguments\"") {
            let call = read(raw, &self.tools)?;
            piece.tool_calls.extend(self.counter.number(vec![call]));
            return Ok(self.go_on(end, State::ContentStart));
        }
        let text: String = self.held.drain(..end).collect();
        piece.content.push_str(&text);
        Ok(self.go_on(0, State::Content))
    }

    fn think(&self, piece: &mut Piece, text: &str) {
        if self.shows_thinking {
            piece.thinking.push_str(text);
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

impl Parser for Laguna {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.held.push_str(text);
        drive(|piece| self.step(piece))
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let rest = std::mem::take(&mut self.held);
        let mut piece = Piece::default();
        match self.state {
            State::Call if !rest.trim().is_empty() => {
                let call = read(&rest, &self.tools)?;
                piece.tool_calls = self.counter.number(vec![call]);
            }
            State::Json if rest.contains("\"name\"") || rest.contains("\"arguments\"") => {
                let call = read(&rest, &self.tools)?;
                piece.tool_calls = self.counter.number(vec![call]);
            }
            State::Call => {}
            State::Content | State::ContentStart | State::User | State::Json => {
                rest.trim_end().clone_into(&mut piece.content);
            }
            State::Echo | State::ThinkingStart | State::Thinking => {
                self.think(&mut piece, rest.trim_end());
            }
        }
        Ok(piece)
    }

    fn cut(&mut self) -> Piece {
        // Held text may be the beginning of a tag, and a call without its end is incomplete, so both are dropped unless
        // the text is complete JSON that is not a call.
        let (is_json, is_call) = (self.state == State::Json, begins_like_call(&self.held));
        let piece = self.finish().unwrap_or_default();
        match is_json {
            true if is_call => Piece {
                content: String::new(),
                ..piece
            },
            true => piece,
            false => Piece::default(),
        }
    }
}

/// Removes tags that are repeated or on the wrong side of a call.
fn clean(raw: &str) -> String {
    let mut raw = raw.trim();
    while let Some(rest) = raw.strip_prefix(CALL) {
        raw = rest.trim();
    }
    raw = raw.split(CALL_END).next().unwrap_or_default().trim();
    if let Some((before, after)) = raw.split_once(CALL) {
        raw = if before.trim().is_empty() {
            after.trim()
        } else {
            before.trim()
        };
    }
    raw.to_owned()
}

/// The declared name that the model means.
fn resolve<'a>(name: &'a str, tools: &[ToolDefinition]) -> &'a str {
    if declared(tools, name).is_some() {
        return name;
    }
    let mut aliases = ALIASES.iter();
    let alias = aliases.find(|(other, own)| *other == name && declared(tools, own).is_some());
    alias.map_or(name, |(_, own)| own)
}

fn name_of(raw: &str) -> Option<String> {
    if raw.starts_with('{') {
        let parsed: Json = serde_json::from_str(raw).ok()?;
        return Some(parsed.name.trim().to_owned()).filter(|name| !name.is_empty());
    }
    let end = raw
        .find(KEY)
        .or_else(|| raw.find('{'))
        .or_else(|| raw.find(['\r', '\n']))
        .unwrap_or(raw.len());
    Some(raw[..end].trim().to_owned()).filter(|name| !name.is_empty())
}

#[derive(Debug, Deserialize)]
struct Json {
    #[serde(default)]
    name: String,
    #[serde(default)]
    arguments: Option<Map<String, serde_json::Value>>,
}

/// Reads a call in one of its formats.
fn read(raw: &str, tools: &[ToolDefinition]) -> Result<ToolCall, ParseError> {
    let raw = clean(raw);
    if raw.starts_with('{') {
        let parsed: Json = serde_json::from_str(&raw).map_err(|error| {
            ParseError(format!("failed to parse Laguna JSON tool call: {error}"))
        })?;
        if parsed.name.is_empty() {
            return Err(ParseError("empty Laguna tool call name".to_owned()));
        }
        let name = resolve(&parsed.name, tools);
        return Ok(call(name, parsed.arguments.unwrap_or_default()));
    }
    let split = raw.find(KEY).or_else(|| raw.find('{')).unwrap_or(raw.len());
    let (name, text) = raw.split_at(split);
    let name = resolve(name.trim(), tools);
    if text.starts_with('{') {
        let arguments = object(text.trim()).map_err(|error| {
            ParseError(format!(
                "failed to parse Laguna JSON tool call arguments: {error}"
            ))
        })?;
        return Ok(call(name, arguments));
    }
    Ok(call(name, pairs(text, declared(tools, name))))
}

/// Keys that are directly followed by a value; other keys are skipped.
fn pairs(text: &str, tool: Option<&ToolDefinition>) -> Map<String, serde_json::Value> {
    let mut arguments = Map::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(KEY) {
        let Some((key, after)) = after.split_once(KEY_END) else {
            break;
        };
        rest = after;
        let Some(value) = after.trim_start().strip_prefix(VALUE) else {
            continue;
        };
        let Some((value, after)) = value.split_once(VALUE_END) else {
            break;
        };
        let key = key.trim();
        arguments.insert(key.to_owned(), typed_value(value, &types(tool, key)));
        rest = after;
    }
    arguments
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

    fn parse(text: &str) -> Piece {
        cut::parse(laguna, &tools(), text).unwrap()
    }

    #[test]
    fn all_spellings_are_calls() {
        for text in [
            "<tool_call>read\n<arg_key>n</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
            "<tool_call>{\"name\": \"read_file\", \"arguments\": {\"n\": 3}}</tool_call>",
            "<user>read{\"n\": 3}</user>",
            "{\"name\": \"read\", \"arguments\": {\"n\": 3}}",
        ] {
            let piece = parse(&format!("</think>\nOk. {text}"));
            assert_eq!(piece.content, "Ok.", "{text}");
            assert_eq!(piece.tool_calls[0].function.name, "read", "{text}");
            assert_eq!(piece.tool_calls[0].function.arguments["n"], 3, "{text}");
        }
    }

    #[test]
    fn other_braces_are_content() {
        assert_eq!(
            parse("a {b} c {\"d\": 1} e").content,
            "a {b} c {\"d\": 1} e"
        );
    }

    #[test]
    fn cuts_do_not_matter() {
        let tools = tools();
        for (tools, think) in [(&tools[..], None), (&[], Some(crate::chat::Think::On))] {
            let start = Start {
                tools,
                think,
                ..Start::default()
            };
            check_cuts(
                || laguna(&start),
                r#"[a <\n]{0,3}(</?think>)?[b <\{\n]{0,4}(<tool_call>read<arg_key>n</arg_key><arg_value>1</arg_value></tool_call>|<user>read</user>|\{"name": "read"\})?[c \n]{0,3}"#,
            );
        }
    }
}
