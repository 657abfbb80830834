//! Ministral 3 and related models: `[TOOL_CALLS]name[ARGS]{…}`, thinking between `[THINK]` and `[/THINK]`.

use crate::chat::ToolDefinition;
use crate::families::shared::call::{Counter, call, declared, object};
use crate::families::shared::tagged::earliest;
use crate::parser::held::{drive, overlap, take_decided};
use crate::parser::{Follower, ParseError, Parser, Piece, Start};

const CALLS: &str = "[TOOL_CALLS]";
const THINK: &str = "[THINK]";
const THINK_END: &str = "[/THINK]";
const ARGUMENTS: &str = "[ARGS]";
/// Some models put an id between name and arguments.
const ID: &str = "[CALL_ID]";

pub(super) const PRESERVED: &[&str] = &[CALLS, THINK, THINK_END, ARGUMENTS];

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Content,
    Thinking,
    ContentStart,
    Name,
    /// Arguments for the tool with this name.
    Arguments(String),
}

/// The parser of one answer.
#[derive(Debug)]
struct Ministral {
    tools: Vec<ToolDefinition>,
    state: State,
    held: String,
    /// How much of the arguments has been scanned.
    json: Json,
    follower: Follower,
    counter: Counter,
}

pub(super) fn new(start: &Start<'_>) -> Box<dyn Parser> {
    Box::new(Ministral {
        tools: start.tools.to_vec(),
        state: if start.in_thinking == Some(true) {
            State::Thinking
        } else {
            State::Content
        },
        held: String::new(),
        json: Json::default(),
        follower: Follower::default(),
        counter: Counter::default(),
    })
}

impl Ministral {
    fn step(&mut self, piece: &mut Piece) -> Result<bool, ParseError> {
        match &self.state {
            State::Content => {
                let tags = [CALLS, THINK];
                let Some((at, tag)) = earliest(&self.held, &tags) else {
                    piece.content += &take_decided(&mut self.held, &tags);
                    return Ok(false);
                };
                piece.content.push_str(self.held[..at].trim_end());
                let next = if tag == CALLS {
                    State::Name
                } else {
                    State::Thinking
                };
                Ok(self.go_on(at + tag.len(), next))
            }
            State::Thinking => {
                let Some(at) = self.held.find(THINK_END) else {
                    let decided = self.held.len() - overlap(&self.held, THINK_END);
                    piece.thinking.extend(self.held.drain(..decided));
                    return Ok(false);
                };
                piece.thinking.push_str(&self.held[..at]);
                Ok(self.go_on(at + THINK_END.len(), State::ContentStart))
            }
            State::ContentStart => {
                self.held = self.held.trim_start().to_owned();
                if self.held.is_empty() {
                    return Ok(false);
                }
                self.state = State::Content;
                Ok(true)
            }
            State::Name => {
                let Some(at) = self.held.find(ARGUMENTS) else {
                    return Ok(false);
                };
                let name = self.held[..at]
                    .split(ID)
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                self.json = Json::default();
                self.follower = Follower::of_arguments(&name);
                Ok(self.go_on(at + ARGUMENTS.len(), State::Arguments(name)))
            }
            State::Arguments(name) => {
                let end = self.json.end(&self.held);
                let is_followed = end.is_none() || self.follower.has_begun();
                let is_known = declared(&self.tools, name).is_some();
                if is_followed && is_known && piece.tool_calls.is_empty() {
                    let text = &self.held[..end.unwrap_or(self.held.len())];
                    let part = self.follower.read(text, self.counter.next(), |_, _| true);
                    piece.parts.extend(part);
                }
                let Some(end) = end else {
                    return Ok(false);
                };
                if !is_known {
                    return Err(ParseError(format!("tool '{name}' not found")));
                }
                let arguments =
                    object(&self.held[..end]).map_err(|error| ParseError(error.to_string()))?;
                let calls = self.counter.number(vec![call(name, arguments)]);
                piece.tool_calls.extend(calls);
                Ok(self.go_on(end, State::Content))
            }
        }
    }

    fn go_on(&mut self, from: usize, state: State) -> bool {
        self.held.drain(..from);
        self.state = state;
        true
    }
}

impl Parser for Ministral {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.held.push_str(text);
        drive(|piece| self.step(piece))
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let rest = std::mem::take(&mut self.held);
        Ok(Piece {
            thinking: if self.state == State::Thinking {
                rest
            } else {
                String::new()
            },
            ..Piece::default()
        })
    }
}

/// Finds the end of a JSON value in a growing text.
#[derive(Debug, Default)]
struct Json {
    at: usize,
    depth: i32,
    in_string: bool,
    escaped: bool,
}

impl Json {
    /// Where the value ended, after its last bracket.
    fn end(&mut self, text: &str) -> Option<usize> {
        for c in text[self.at..].chars() {
            self.at += c.len_utf8();
            if self.escaped {
                self.escaped = false;
            } else if self.in_string {
                self.escaped = c == '\\';
                self.in_string = c != '"';
            } else {
                match c {
                    '"' => self.in_string = true,
                    '{' | '[' => self.depth += 1,
                    '}' | ']' => {
                        self.depth -= 1;
                        if self.depth == 0 {
                            return Some(self.at);
                        }
                    }
                    _ => {}
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::parser::cut::{self, check_cuts};

    fn tools() -> Vec<ToolDefinition> {
        vec![cut::tool(&json!({"name": "f"}))]
    }

    fn parse(text: &str) -> Result<Piece, ParseError> {
        cut::parse(new, &tools(), text)
    }

    #[test]
    fn calls_follow_each_other_and_ids_are_skipped() {
        let text = "[THINK]hm[/THINK]\nOk.[TOOL_CALLS]f[ARGS]{\"a\": \"}\"}[TOOL_CALLS]f[CALL_ID]x1[ARGS]{}";
        let piece = parse(text).unwrap();
        assert_eq!(
            (piece.thinking.as_str(), piece.content.as_str()),
            ("hm", "Ok.")
        );
        assert_eq!(piece.tool_calls.len(), 2);
        assert_eq!(piece.tool_calls[0].function.arguments["a"], "}");
    }

    #[test]
    fn an_undeclared_tool_is_an_error() {
        assert_eq!(
            parse("[TOOL_CALLS]g[ARGS]{}").unwrap_err().0,
            "tool 'g' not found"
        );
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
            r#"(\[THINK\][a \[\n]{0,4}\[/THINK\])?[b \[\n]{0,4}(\[TOOL_CALLS\]f\[ARGS\]\{"a": "[\}x]{0,2}"\})?[c \n]{0,3}"#,
        );
    }
}
