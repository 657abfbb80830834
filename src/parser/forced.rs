//! Answers that consist only of tool calls, because of a constraint.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::arguments::Follower;
use super::{ParseError, Parser, Piece};
use crate::chat::{ToolCall, ToolCallFunction};

/// Reads `{"name": …, "arguments": {…}}` or a list of that. Other text is shown unchanged.
#[derive(Debug, Default)]
pub struct ForcedCall {
    text: String,
    follower: Follower,
    n_calls: u32,
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

impl ForcedCall {
    /// Reads up to the end of the next call.
    fn read(&mut self, piece: &mut Piece) {
        let part = self.follower.read(&self.text, self.n_calls, |_, _| true);
        piece.parts.extend(part);
        let Some((name, arguments, end)) = self.follower.whole(&self.text) else {
            return;
        };
        let Ok(arguments) = serde_json::from_str(arguments) else {
            return;
        };
        let name = name.to_owned();
        piece.tool_calls.push(self.call(Call { name, arguments }));
        self.text.drain(..end);
        self.follower = Follower::default();
    }

    fn call(&mut self, call: Call) -> ToolCall {
        let index = self.n_calls;
        self.n_calls += 1;
        ToolCall {
            function: ToolCallFunction {
                index,
                name: call.name,
                arguments: call.arguments,
            },
            ..ToolCall::default()
        }
    }

    /// The complete calls that were not read yet.
    fn rest(&mut self) -> Piece {
        let mut piece = Piece::default();
        loop {
            let n_calls = self.n_calls;
            self.read(&mut piece);
            if self.n_calls == n_calls {
                break;
            }
        }
        piece.parts.clear();
        piece
    }
}

impl Parser for ForcedCall {
    fn push(&mut self, text: &str) -> Result<Piece, ParseError> {
        self.text.push_str(text);
        let mut piece = Piece::default();
        self.read(&mut piece);
        Ok(piece)
    }

    fn finish(&mut self) -> Result<Piece, ParseError> {
        let mut piece = self.rest();
        if self.n_calls > 0 || self.follower.has_begun() {
            return Ok(piece);
        }
        let text = std::mem::take(&mut self.text);
        let calls = match serde_json::from_str(&text) {
            Ok(Calls::One(call)) => vec![call],
            Ok(Calls::Some(calls)) => calls,
            Err(_) => {
                piece.content = text;
                return Ok(piece);
            }
        };
        piece.tool_calls = calls.into_iter().map(|call| self.call(call)).collect();
        Ok(piece)
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
    use super::super::cut::{check_cuts, joined};
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
        let text = r#"{"arguments": {}, "name": "f"}"#;
        let piece = joined(&mut ForcedCall::default(), [text]).unwrap();
        assert_eq!(piece.tool_calls[0].function.name, "f");
    }

    #[test]
    fn arguments_come_in_parts() {
        let mut parser = ForcedCall::default();
        let mut parts = Vec::new();
        let text = r#"[{"name": "f", "arguments": {"a": "long text"}}, {"name": "g", "arguments": {"b": 1}}]"#;
        let texts = text.split_inclusive(' ').chain(["", ""]);
        for text in texts {
            let piece = parser.push(text).unwrap();
            for part in piece.parts {
                parts.push((part.index, part.name, part.arguments));
            }
            for call in piece.tool_calls {
                parts.push((call.function.index, "whole".to_owned(), String::new()));
            }
        }
        let expected = [
            (0, "f", r#"{"a":"#),
            (0, "", r#""long "#),
            (0, "", r#"text"}"#),
            (0, "whole", ""),
            (1, "g", r#"{"b":"#),
            (1, "", "1}"),
            (1, "whole", ""),
        ];
        let expected = expected.map(|(n, name, text)| (n, name.to_owned(), text.to_owned()));
        assert_eq!(parts, expected);
    }

    #[test]
    fn a_call_that_was_cut_off_is_nothing() {
        for (text, n_calls) in [
            (r#"{"name": "f", "argu"#, 0),
            (r#"{"name": "f", "arguments": {"a": "#, 0),
            (r#"[{"name": "f", "arguments": {}}, {"na"#, 1),
            (r#"{"name": "f", "arguments": {}}"#, 1),
        ] {
            let mut parser = ForcedCall::default();
            let begun = parser.push(text).unwrap().tool_calls.len();
            let piece = parser.cut();
            assert_eq!(
                (piece.content.as_str(), begun + piece.tool_calls.len()),
                ("", n_calls)
            );
        }
    }

    #[test]
    fn cuts_do_not_matter() {
        check_cuts(
            || Box::new(ForcedCall::default()),
            r#"\[?\{"name": ?"f", "arguments": \{("a": ?("\}"|1|\[true \]))?\}\}(, ?\{"name": "g", "arguments": \{\}\})?\]?"#,
        );
    }
}
