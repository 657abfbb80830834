//! An answer that consists of tool calls alone, because of a constraint.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ParseError, Parser, Piece};
use crate::chat::{ToolCall, ToolCallFunction};

/// Reads `{"name": …, "arguments": {…}}` or a list of that. Other text is shown unchanged.
#[derive(Debug, Default)]
pub struct ForcedCall {
    text: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Calls {
    One(Call),
    Some(Vec<Call>),
}

#[derive(Deserialize)]
struct Call {
    name: String,
    arguments: Map<String, Value>,
}

impl Parser for ForcedCall {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.text.push_str(text);
        Ok(Piece::default())
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let text = std::mem::take(&mut self.text);
        let calls = match serde_json::from_str(&text) {
            Ok(Calls::One(call)) => vec![call],
            Ok(Calls::Some(calls)) => calls,
            Err(_) => {
                return Ok(Piece {
                    content: text,
                    ..Piece::default()
                });
            }
        };
        let tool_calls = (0..).zip(calls).map(|(index, call)| ToolCall {
            function: ToolCallFunction {
                index,
                name: call.name,
                arguments: call.arguments,
            },
            ..ToolCall::default()
        });
        Ok(Piece {
            tool_calls: tool_calls.collect(),
            ..Piece::default()
        })
    }

    fn cut(&mut self) -> Piece {
        let piece = self.finish().unwrap_or_default();
        Piece {
            content: String::new(),
            ..piece
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cut::joined;
    use super::*;

    #[test]
    fn the_whole_answer_is_the_call() {
        let text = r#"{"name": "f", "arguments": {"a": 1}}"#;
        let pieces = text.split_inclusive(' ');
        let piece = joined(&mut ForcedCall::default(), pieces).unwrap();
        assert_eq!(piece.tool_calls[0].function.name, "f");
        assert_eq!(piece.tool_calls[0].function.arguments["a"], 1);
        assert_eq!(piece.content, "");
    }

    #[test]
    fn a_list_is_several_calls() {
        let text = r#"[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]"#;
        let piece = joined(&mut ForcedCall::default(), [text]).unwrap();
        let calls = piece.tool_calls.iter().map(|call| &call.function);
        let calls: Vec<_> = calls.map(|call| (call.index, call.name.as_str())).collect();
        assert_eq!(calls, [(0, "f"), (1, "g")]);
    }

    #[test]
    fn a_call_that_was_cut_off_is_nothing() {
        for (text, n_calls) in [
            (r#"{"name": "f", "argu"#, 0),
            (r#"[{"name": "f", "arguments": {}}, {"na"#, 0),
            (r#"{"name": "f", "arguments": {}}"#, 1),
        ] {
            let mut parser = ForcedCall::default();
            parser.push(text).unwrap();
            let piece = parser.cut();
            assert_eq!(
                (piece.content.as_str(), piece.tool_calls.len()),
                ("", n_calls)
            );
        }
    }
}
