//! Qwen 3 and what came of it: calls as JSON, or as `<function=…>` with a tag for each parameter.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::call::{call, declared, typed_value, types};
use super::tagged::{Begin, Rules, Tagged, begin, continues_content, thinks_by_default};
use crate::chat::{ToolCall, ToolDefinition};
use crate::parser::{ParseError, Parser, Start};

const THINK: [&str; 2] = ["<think>", "</think>"];
const CALL: [&str; 2] = ["<tool_call>", "</tool_call>"];

pub(super) const PRESERVED: &[&str] = &["<think>", "</think>", "<tool_call>", "</tool_call>"];
pub(super) const PRESERVED_CODER: &[&str] = &["<tool_call>", "</tool_call>"];
pub(super) const PRESERVED_VL: &[&str] = &["</think>", "<tool_call>", "</tool_call>"];

static JSON: Rules = Rules {
    think: THINK,
    call: CALL,
    drops_echo: true,
    call_ends_thinking: true,
    shows_rest: false,
    read: named_json,
    read_unfinished: None,
};

static VISION: Rules = Rules {
    drops_echo: false,
    read: json,
    ..JSON
};

static XML: Rules = Rules {
    read: functions,
    ..JSON
};

pub(super) fn instruct(start: &Start<'_>) -> Box<dyn Parser> {
    Box::new(Tagged::new(&JSON, Begin::Content, start.tools))
}

pub(super) fn thinking(start: &Start<'_>) -> Box<dyn Parser> {
    let begin = begin(start, thinks_by_default(start));
    Box::new(Tagged::new(&JSON, begin, start.tools))
}

pub(super) fn coder(start: &Start<'_>) -> Box<dyn Parser> {
    Box::new(Tagged::new(&XML, Begin::Content, start.tools))
}

/// Qwen 3.5, and Nemotron 3, which writes the same.
pub(super) fn thinking_coder(start: &Start<'_>) -> Box<dyn Parser> {
    let wanted = thinks_by_default(start) && !continues_content(start);
    Box::new(Tagged::new(&XML, begin(start, wanted), start.tools))
}

pub(super) fn vision(start: &Start<'_>) -> Box<dyn Parser> {
    Box::new(Tagged::new(&VISION, Begin::Content, start.tools))
}

pub(super) fn vision_thinking(start: &Start<'_>) -> Box<dyn Parser> {
    let begin = begin(start, !continues_content(start));
    Box::new(Tagged::new(&VISION, begin, start.tools))
}

/// As [`json`]; a call must have a name.
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

/// `<function=NAME><parameter=KEY>⏎VALUE⏎</parameter>…</function>`
pub(super) fn functions(raw: &str, tools: &[ToolDefinition]) -> Result<Vec<ToolCall>, ParseError> {
    let broken = |what: &str| ParseError(format!("failed to parse tool call: {what}"));
    let (_, rest) = raw
        .split_once("<function=")
        .ok_or_else(|| broken("no <function=…>"))?;
    let (name, mut rest) = rest
        .split_once('>')
        .ok_or_else(|| broken("<function=… is not closed"))?;
    let tool = declared(tools, name);
    let mut arguments = Map::new();
    loop {
        let end = rest.find("</function>");
        let next = rest.find("<parameter=");
        let Some(at) = next.filter(|at| end.is_none_or(|end| *at < end)) else {
            return match end {
                Some(_) => Ok(vec![call(name, arguments)]),
                None => Err(broken("no </function>")),
            };
        };
        let (key, after) = rest[at + "<parameter=".len()..]
            .split_once('>')
            .ok_or_else(|| broken("<parameter=… is not closed"))?;
        let (value, after) = after
            .split_once("</parameter>")
            .ok_or_else(|| broken("no </parameter>"))?;
        arguments.insert(key.to_owned(), typed_value(value, &types(tool, key)));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;
    use crate::parser::cut::{check_cuts, joined};

    fn tools() -> Vec<ToolDefinition> {
        let tool = value!({"type": "function", "function": {"name": "f", "parameters":
            {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}}}});
        vec![serde_json::from_value(tool).unwrap()]
    }

    fn parse(new: fn(&Start<'_>) -> Box<dyn Parser>, text: &str) -> crate::parser::Piece {
        let tools = tools();
        let start = Start {
            tools: &tools,
            ..Start::default()
        };
        joined(&mut *new(&start), [text]).unwrap()
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
