//! Answers with calls in JSON. The coder models and Qwen 3.5 write XML
//! ([`xml`](crate::families::shared::xml)).

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::chat::{ToolCall, ToolDefinition};
use crate::families::shared::call::call;
use crate::families::shared::tagged::{
    Begin, Rules, Tagged, begin, continues_content, thinks_by_default,
};
use crate::parser::{ParseError, Parser, Start};

const THINK: [&str; 2] = ["<think>", "</think>"];
const CALL: [&str; 2] = ["<tool_call>", "</tool_call>"];

pub(super) const PRESERVED: &[&str] = &["<think>", "</think>", "<tool_call>", "</tool_call>"];
pub(super) const PRESERVED_VL: &[&str] = &["</think>", "<tool_call>", "</tool_call>"];

static JSON: Rules = Rules {
    think: THINK,
    call: CALL,
    drops_echo: true,
    call_ends_thinking: true,
    shows_rest: false,
    read: named_json,
    is_json: true,
    read_unfinished: None,
};

static VISION: Rules = Rules {
    drops_echo: false,
    read: json,
    ..JSON
};

pub(super) fn instruct(start: &Start<'_>) -> Box<dyn Parser> {
    Box::new(Tagged::new(&JSON, Begin::Content, start.tools))
}

pub(super) fn thinking(start: &Start<'_>) -> Box<dyn Parser> {
    let begin = begin(start, thinks_by_default(start));
    Box::new(Tagged::new(&JSON, begin, start.tools))
}

pub(super) fn vision(start: &Start<'_>) -> Box<dyn Parser> {
    Box::new(Tagged::new(&VISION, Begin::Content, start.tools))
}

pub(super) fn vision_thinking(start: &Start<'_>) -> Box<dyn Parser> {
    let begin = begin(start, !continues_content(start));
    Box::new(Tagged::new(&VISION, begin, start.tools))
}

/// Like [`json`], but a call must have a name.
fn named_json(raw: &str, tools: &[ToolDefinition]) -> Result<Vec<ToolCall>, ParseError> {
    let calls = json(raw, tools)?;
    if calls.iter().any(|call| call.function.name.is_empty()) {
        return Err(ParseError("empty function name".to_owned()));
    }
    Ok(calls)
}

/// `{"name": …, "arguments": {…}}`
fn json(raw: &str, _: &[ToolDefinition]) -> Result<Vec<ToolCall>, ParseError> {
    #[derive(Deserialize)]
    struct Call {
        #[serde(default)]
        name: String,
        #[serde(default)]
        arguments: Option<Map<String, Value>>,
    }
    let parsed: Call = serde_json::from_str(raw.trim())
        .map_err(|error| ParseError(format!("failed to parse JSON: {error}")))?;
    Ok(vec![call(
        parsed.name,
        parsed.arguments.unwrap_or_default(),
    )])
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;
    use crate::families::shared::xml::{coder, thinking_coder};
    use crate::parser::cut::{self, check_cuts, joined};

    fn tools() -> Vec<ToolDefinition> {
        vec![cut::tool(&value!({"name": "f", "parameters":
            {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}}}))]
    }

    fn parse(new: fn(&Start<'_>) -> Box<dyn Parser>, text: &str) -> crate::parser::Piece {
        cut::parse(new, &tools(), text).unwrap()
    }

    #[test]
    fn thinking_content_and_json_calls() {
        let text = "<think>\nhm </think>\n\nWell \n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"n\": 1}}\n</tool_call>";
        let piece = parse(thinking, text);
        assert_eq!(
            (piece.thinking.as_str(), piece.content.as_str()),
            ("hm", "Well")
        );
        assert_eq!(piece.tool_calls[0].function.arguments["n"], 1);
    }

    #[test]
    fn parameters_have_the_types_of_the_tool() {
        let text = "ok</think>\n<tool_call>\n<function=f>\n<parameter=n>\n7\n</parameter>\n<parameter=s>\n7 < 8\n</parameter>\n</function>\n</tool_call>";
        let piece = parse(thinking_coder, text);
        let arguments = &piece.tool_calls[0].function.arguments;
        assert_eq!(arguments["n"], 7);
        assert_eq!(arguments["s"], "7 < 8");
    }

    #[test]
    fn a_call_ends_thinking_and_a_broken_one_is_an_error() {
        let piece = parse(
            vision_thinking,
            "so <tool_call>{\"name\": \"f\"}</tool_call> done",
        );
        assert_eq!(
            (piece.thinking.as_str(), piece.content.as_str()),
            ("so", "done")
        );
        let start = Start::default();
        let error = joined(&mut *instruct(&start), ["<tool_call>{</tool_call>"]);
        assert!(error.unwrap_err().0.starts_with("failed to parse JSON"));
    }

    #[test]
    fn cuts_do_not_matter() {
        for new in [
            instruct,
            thinking,
            coder,
            thinking_coder,
            vision,
            vision_thinking,
        ] {
            check_cuts(
                || new(&Start::default()),
                r#"(<think>)?[a <\n]{0,6}(</think>)?[b <\n]{0,5}(<tool_call> ?(\{"name": "f"\}|<function=f>\n<parameter=s>x</parameter></function>)</tool_call>)?[c \n]{0,3}"#,
            );
        }
    }
}
