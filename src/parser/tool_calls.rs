//! Tool calls as JSON after a tag, for templates without a family parser.
//!
//! The rules are those of Ollama's `tools` package: the tag is taken literally, a call needs the name of a
//! declared tool and a JSON object. The parser looks for a call whenever an object may have ended, so that
//! it does not matter how the text arrives.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::arguments::Follower;
use super::held::overlap;
use super::{ParseError, Parser, Piece};
use crate::chat::{ToolCall, ToolCallFunction, ToolDefinition};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    LookingForTag,
    Calling,
    /// The rest is content.
    Done,
}

/// Finds tool calls in content.
#[derive(Debug)]
pub struct ToolCalls {
    tag: String,
    names: Vec<String>,
    state: State,
    buffer: String,
    n_calls: u32,
    follower: Follower,
}

impl ToolCalls {
    /// A parser for calls of these tools after a tag; `{` and `[` mean JSON without a tag.
    pub fn new(tag: &str, tools: &[ToolDefinition]) -> Self {
        Self {
            tag: tag.to_owned(),
            names: tools
                .iter()
                .map(|tool| tool.function.name.clone())
                .collect(),
            state: State::LookingForTag,
            buffer: String::new(),
            n_calls: 0,
            follower: Follower::default(),
        }
    }

    /// The answer must begin with JSON to be a call.
    fn is_bare(&self) -> bool {
        self.tag == "{" || self.tag == "["
    }

    fn feed(&mut self, text: &str, piece: &mut Piece) {
        if self.state == State::Done {
            piece.content.push_str(text);
            return;
        }
        self.buffer.push_str(text);
        if self.state == State::LookingForTag && !self.look_for_tag(piece) {
            return;
        }
        while let Some(call) = self.call() {
            piece.tool_calls.push(call);
            self.follower = Follower::default();
        }
        // Bare JSON may turn out to be content.
        if piece.tool_calls.is_empty() && !self.is_bare() {
            let is_call = |name: &str, before: &str| {
                find_name(&self.names, before).is_some_and(|(found, _)| found == name)
            };
            let part = self.follower.read(&self.buffer, self.n_calls, is_call);
            piece.parts.extend(part);
        }
        if self.is_balanced() {
            self.state = State::Done;
            piece.content.push_str(&std::mem::take(&mut self.buffer));
        }
    }

    /// Passes on what comes before the tag; true when the tag was found.
    fn look_for_tag(&mut self, piece: &mut Piece) -> bool {
        let found = self.buffer.find(&self.tag);
        let end = found.unwrap_or(self.buffer.len() - overlap(&self.buffer, &self.tag));
        let before: String = self.buffer.drain(..end).collect();
        let is_content = self.is_bare() && !before.trim().is_empty();
        piece.content.push_str(&before);
        if is_content {
            self.state = State::Done;
            piece.content.push_str(&std::mem::take(&mut self.buffer));
            return false;
        }
        if found.is_some() {
            self.state = State::Calling;
        }
        found.is_some()
    }

    /// Takes the next complete call from the buffer.
    fn call(&mut self) -> Option<ToolCall> {
        let (name, name_end) = find_name(&self.names, &self.buffer)?;
        let (arguments, end) = find_arguments(name, &self.buffer)?;
        let call = ToolCall {
            function: ToolCallFunction {
                index: self.n_calls,
                name: name.to_owned(),
                arguments,
            },
            ..ToolCall::default()
        };
        self.n_calls += 1;
        self.buffer.drain(..end.max(name_end));
        Some(call)
    }

    /// Whether bare JSON has ended, so that the rest is content. Braces around something else (code) do not
    /// count at first, as a call may still come.
    fn is_balanced(&self) -> bool {
        let (open, close) = match self.tag.as_str() {
            "{" => ('{', '}'),
            "[" => ('[', ']'),
            _ => return false,
        };
        let mut depth = 0_i32;
        let mut scan = Scan::default();
        let end = self.buffer.char_indices().find(|&(_, c)| {
            if !scan.is_outside(c) {
                return false;
            }
            if c == open {
                depth += 1;
            } else if c == close {
                depth -= 1;
                return depth == 0;
            }
            false
        });
        let Some((end, _)) = end else { return false };
        let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
        // A list of something else is not a list of calls.
        open == '['
            || self.n_calls > 0
            || self.buffer.len() > MAX_CODE
            || is_json(&self.buffer[..=end])
    }

    /// Returns the text of a call that was never completed.
    fn leftover(&mut self) -> String {
        let rest = std::mem::take(&mut self.buffer);
        match self.state {
            State::LookingForTag => rest,
            _ if self.n_calls == 0 && self.is_bare() => rest,
            _ => String::new(),
        }
    }
}

/// The most bytes that wait for a call after something in braces that is not JSON.
const MAX_CODE: usize = 16 << 10;

/// Whether incomplete bare JSON looks like a call.
pub(crate) fn begins_like_call(text: &str) -> bool {
    let text = text.trim_start_matches(['[', '{', ' ', '\n', '\r', '\t']);
    let keys = [
        "\"name\"",
        "\"arguments\"",
        "\"parameters\"",
        "\"function\"",
        "\"type\"",
    ];
    let is_begun = |key: &&str| text.starts_with(*key) || key.starts_with(text);
    keys.iter().any(is_begun)
}

impl Parser for ToolCalls {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        let mut piece = Piece::default();
        for part in text.split_inclusive(['}', ']']) {
            self.feed(part, &mut piece);
        }
        Ok(piece)
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        Ok(Piece {
            content: self.leftover(),
            ..Piece::default()
        })
    }

    fn cut(&mut self) -> Piece {
        let is_call = match self.state {
            // What is held may be the start of the tag.
            State::LookingForTag => !self.is_bare(),
            _ => begins_like_call(&self.buffer),
        };
        let content = self.leftover();
        Piece {
            content: if is_call { String::new() } else { content },
            ..Piece::default()
        }
    }
}

/// Tracks which characters are outside JSON strings.
#[derive(Debug, Default)]
struct Scan {
    in_string: bool,
    escaped: bool,
}

impl Scan {
    fn is_outside(&mut self, c: char) -> bool {
        if self.escaped {
            self.escaped = false;
            return false;
        }
        match c {
            '\\' => self.escaped = true,
            '"' => self.in_string = !self.in_string,
            _ => return !self.in_string,
        }
        false
    }
}

/// Finds the earliest name in a text, the longest at that place, and where it ends. `None` while the end of the
/// text may become a longer name.
fn find_name<'a>(names: &'a [String], text: &str) -> Option<(&'a str, usize)> {
    if names.iter().any(|name| overlap(text, name) > 0) {
        return None;
    }
    names
        .iter()
        .filter(|name| !name.is_empty())
        .filter_map(|name| Some((text.find(name.as_str())?, name)))
        .min_by_key(|(start, name)| (*start, usize::MAX - name.len()))
        .map(|(start, name)| (name.as_str(), start + name.len()))
}

/// Finds the first complete object in a text that has arguments, and where it ends (its last brace).
pub fn find_arguments(tool: &str, text: &str) -> Option<(Map<String, Value>, usize)> {
    let mut start = None;
    let mut depth = 0_i32;
    let mut scan = Scan::default();
    for (at, c) in text.char_indices() {
        if !scan.is_outside(c) {
            continue;
        }
        if c == '{' {
            if depth == 0 {
                start = Some(at);
            }
            depth += 1;
        } else if c == '}' {
            depth -= 1;
            if depth == 0
                && let Some(start) = start.take()
                && let Ok(object) = serde_json::from_str::<Map<String, Value>>(&text[start..=at])
            {
                return match arguments_in(tool, &object) {
                    Found::Arguments(arguments) => Some((arguments, at)),
                    Found::NoCall => None,
                    Found::Nothing => Some((object, at)),
                };
            }
            depth = depth.max(0);
        }
    }
    None
}

enum Found {
    Arguments(Map<String, Value>),
    /// A name without arguments.
    NoCall,
    Nothing,
}

fn arguments_in(tool: &str, object: &Map<String, Value>) -> Found {
    let read = |key: &str| match object.get(key) {
        Some(Value::Object(map)) => Some(map.clone()),
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        _ => None,
    };
    if object.contains_key("name") {
        return read("arguments")
            .or_else(|| read("parameters"))
            .map_or(Found::NoCall, Found::Arguments);
    }
    if let Some(arguments) = read(tool) {
        return Found::Arguments(arguments);
    }
    for value in object.values() {
        let children = match value {
            Value::Object(_) => std::slice::from_ref(value),
            Value::Array(items) => items,
            _ => continue,
        };
        for child in children.iter().filter_map(Value::as_object) {
            match arguments_in(tool, child) {
                Found::Nothing => {}
                found => return found,
            }
        }
    }
    Found::Nothing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::parser::cut::{check_cuts, joined};

    fn tools() -> Vec<ToolDefinition> {
        ["get", "get_weather"]
            .map(|name| {
                serde_json::from_value(json!({"type": "function", "function": {"name": name}}))
                    .unwrap()
            })
            .to_vec()
    }

    fn parse(tag: &str, text: &str) -> Piece {
        joined(&mut ToolCalls::new(tag, &tools()), [text]).unwrap()
    }

    #[test]
    fn calls_after_a_tag_are_found_in_order() {
        let call = r#"{"name": "get_weather", "arguments": {"city": "Paris"}}"#;
        let text =
            format!("Well. <call>{call}</call> <call>{{\"name\": \"get\", \"parameters\": {{}}}}");
        let piece = parse("<call>", &text);
        assert_eq!(piece.content, "Well. ");
        let calls: Vec<_> = piece
            .tool_calls
            .iter()
            .map(|call| (call.function.index, call.function.name.as_str()))
            .collect();
        assert_eq!(calls, [(0, "get_weather"), (1, "get")]);
        assert_eq!(piece.tool_calls[0].function.arguments["city"], "Paris");
    }

    #[test]
    fn bare_json_must_come_first_and_is_shown_if_it_is_no_call() {
        assert_eq!(
            parse("{", "a {\"name\": \"get\"}").content,
            "a {\"name\": \"get\"}"
        );
        assert_eq!(
            parse("{", "{\"x\": 1} and more").content,
            "{\"x\": 1} and more"
        );
        assert_eq!(parse("{", "{\"x\": ").content, "{\"x\": ");
    }

    #[test]
    fn code_in_braces_does_not_hide_a_call() {
        let call = r#"{"name": "get", "arguments": {"a": 1}}"#;
        let piece = parse("{", &format!("{{ return x; }}\n{call}"));
        assert_eq!(piece.tool_calls.len(), 1, "{piece:?}");
        let code = "{ return x; }\nand more";
        assert_eq!(parse("{", code).content, code);
        let long = format!("{{ {} }}", "x".repeat(MAX_CODE));
        let piece = parse("{", &(long.clone() + call));
        assert_eq!((piece.content, piece.tool_calls.len()), (long + call, 0));
    }

    #[test]
    fn a_call_that_was_cut_off_is_nothing() {
        for (tag, text, content) in [
            ("<call>", r#"Well. <call>{"name": "get", "argu"#, "Well. "),
            ("<call>", "Well. <ca", "Well. "),
            ("{", r#"{"name": "get", "argu"#, ""),
            ("{", "{", ""),
            ("[", r#"[{"na"#, ""),
            ("{", r#"{"answer": "ye"#, r#"{"answer": "ye"#),
            ("{", "Well. {", "Well. {"),
        ] {
            let mut parser = ToolCalls::new(tag, &tools());
            let begun = parser.push(text).unwrap().content;
            assert_eq!(begun + &parser.cut().content, content, "{tag} {text}");
        }
    }

    #[test]
    fn cuts_do_not_matter() {
        for tag in ["<call>", "{", "["] {
            let new = || Box::new(ToolCalls::new(tag, &tools())) as Box<dyn Parser>;
            check_cuts(
                new,
                r#"[a ]{0,3}(<call>|\[)?\{"name": ?"get(_weather)?", "arguments": \{"a": ?("\}")?1?\}\}[a\]\} ]{0,4}(\{"name"|get)?"#,
            );
        }
    }
}
