//! For tests: checks that it does not matter how an answer is cut into pieces.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::{ParseError, Parser, Piece, Start};
use crate::chat::ToolDefinition;

/// Joins all output of a parser for these texts. Checks that the parts of a call that arrived make up the call.
pub(crate) fn joined<'a>(
    parser: &mut dyn Parser,
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<Piece, ParseError> {
    let mut all = Piece::default();
    let mut begun: Option<(u32, String, String)> = None;
    let mut add = |piece: Piece| {
        for part in piece.parts {
            match &mut begun {
                None => begun = Some((part.index, part.name, part.arguments)),
                Some((index, _, arguments)) => {
                    assert_eq!((part.index, part.name.as_str()), (*index, ""));
                    *arguments += &part.arguments;
                }
            }
        }
        if let Some(call) = piece.tool_calls.first()
            && let Some((index, name, arguments)) = begun.take()
        {
            let function = &call.function;
            assert_eq!((index, &name), (function.index, &function.name));
            let whole = serde_json::Value::Object(function.arguments.clone()).to_string();
            assert_eq!(arguments, whole);
        }
        all.content += &piece.content;
        all.thinking += &piece.thinking;
        all.tool_calls.extend(piece.tool_calls);
    };
    for text in texts {
        add(parser.push(text)?);
    }
    add(parser.finish()?);
    Ok(all)
}

/// A tool of this function: `{"name": …, "parameters": …}`.
pub(crate) fn tool(function: &serde_json::Value) -> ToolDefinition {
    let tool = serde_json::json!({"type": "function", "function": function});
    serde_json::from_value(tool).unwrap()
}

/// Parses a whole text with these tools.
pub(crate) fn parse(
    new: impl Fn(&Start<'_>) -> Box<dyn Parser>,
    tools: &[ToolDefinition],
    text: &str,
) -> Result<Piece, ParseError> {
    let start = Start {
        tools,
        ..Start::default()
    };
    joined(&mut *new(&start), [text])
}

/// Checks that texts of a pattern give the same result whole, by characters, and cut at random places.
pub(crate) fn check_cuts(new: impl Fn() -> Box<dyn Parser>, pattern: &str) {
    let mut runner = TestRunner::deterministic();
    let texts = proptest::string::string_regex(pattern).unwrap();
    for _ in 0..300 {
        let text = texts.new_tree(&mut runner).unwrap().current();
        let whole = joined(&mut *new(), [text.as_str()]);
        let characters: Vec<String> = text.chars().map(String::from).collect();
        let by_character = joined(&mut *new(), characters.iter().map(String::as_str));
        assert_eq!(whole, by_character, "{text:?}");
        let at = (0..=text.len()).new_tree(&mut runner).unwrap().current();
        if text.is_char_boundary(at) {
            let (front, back) = text.split_at(at);
            assert_eq!(
                whole,
                joined(&mut *new(), [front, back]),
                "{front:?} {back:?}"
            );
        }
    }
}
