//! `FunctionGemma`: `call:name{key:<escape>text<escape>,n:1}` between tags.

use serde_json::{Map, Value};

use crate::chat::ToolCall;
use crate::families::shared::call::{Counter, call};
use crate::parser::held::overlap;
use crate::parser::{ParseError, Parser, Piece, Start};

const CALL: &str = "<start_function_call>";
const CALL_END: &str = "<end_function_call>";
const QUOTE: &str = "<escape>";

pub(super) const PRESERVED: &[&str] = &[CALL, CALL_END];

/// The parser of one answer; white space is kept in the content.
#[derive(Debug, Default)]
struct FunctionGemma {
    in_call: bool,
    held: String,
    counter: Counter,
}

pub(super) fn new(_: &Start<'_>) -> Box<dyn Parser> {
    Box::new(FunctionGemma::default())
}

impl Parser for FunctionGemma {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.held.push_str(text);
        let mut piece = Piece::default();
        loop {
            let tag = if self.in_call { CALL_END } else { CALL };
            let Some(at) = self.held.find(tag) else {
                break;
            };
            let before: String = self.held.drain(..at + tag.len()).collect();
            let before = &before[..at];
            if self.in_call {
                let calls = self.counter.number(vec![read(before)]);
                piece.tool_calls.extend(calls);
            } else {
                piece.content.push_str(before);
            }
            self.in_call = !self.in_call;
        }
        if !self.in_call {
            let decided = self.held.len() - overlap(&self.held, CALL);
            piece.content.extend(self.held.drain(..decided));
        }
        Ok(piece)
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        self.held.clear();
        Ok(Piece::default())
    }
}

/// A call without a name and braces becomes a call without a function, so that the client sees the attempt.
fn read(raw: &str) -> ToolCall {
    let parts = || {
        let (_, rest) = raw.split_once("call:")?;
        let (name, rest) = rest.split_once('{')?;
        let (arguments, _) = rest.rsplit_once('}')?;
        (!name.is_empty()).then(|| call(name, entries(arguments)))
    };
    parts().unwrap_or_default()
}

fn entries(text: &str) -> Map<String, Value> {
    let parts = split(text);
    let pairs = parts.iter().filter_map(|part| part.split_once(':'));
    pairs
        .map(|(key, text)| (key.to_owned(), value(text)))
        .collect()
}

fn value(text: &str) -> Value {
    let inside = |open: &str, close: &str| text.strip_prefix(open)?.strip_suffix(close);
    if let Some(quoted) = inside(QUOTE, QUOTE) {
        return quoted.into();
    }
    match text {
        "true" => return true.into(),
        "false" => return false.into(),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
        return number.into();
    }
    if let Some(items) = inside("[", "]") {
        return split(items).into_iter().map(value).collect();
    }
    if let Some(map) = inside("{", "}") {
        return Value::Object(entries(map));
    }
    text.into()
}

/// Splits at commas outside brackets and quotes.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut depth = 0_i32;
    let mut is_quoted = false;
    let (mut start, mut at) = (0, 0);
    while let Some(c) = text[at..].chars().next() {
        if text[at..].starts_with(QUOTE) {
            is_quoted = !is_quoted;
            at += QUOTE.len();
            continue;
        }
        match c {
            _ if is_quoted => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += c.len_utf8();
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::parser::cut::{check_cuts, joined};

    #[test]
    fn arguments_have_their_own_language() {
        let text = "Ok <start_function_call>call:f{a:<escape>x, {y}<escape>,b:[1,2.5],c:{d:true}}<end_function_call>.";
        let piece = joined(&mut FunctionGemma::default(), [text]).unwrap();
        assert_eq!(piece.content, "Ok .");
        assert_eq!(
            Value::Object(piece.tool_calls[0].function.arguments.clone()),
            json!({"a": "x, {y}", "b": [1, 2.5], "c": {"d": true}})
        );
    }

    #[test]
    fn cuts_do_not_matter() {
        check_cuts(
            || Box::new(FunctionGemma::default()),
            r"[a <\n]{0,5}(<start_function_call>call:f\{a:<escape>[x,<]{0,3}<escape>\}<end_function_call>)?[b <]{0,4}",
        );
    }
}
