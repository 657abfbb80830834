//! Calls in XML, `<function=…>` with a tag for each parameter: Qwen 3 Coder, Qwen 3.5, Nemotron 3.

use serde_json::Map;

use super::call::{call, declared, typed_value, types};
use super::tagged::{Begin, Rules, Tagged, begin, continues_content, thinks_by_default};
use crate::chat::{ToolCall, ToolDefinition};
use crate::parser::{ParseError, Parser, Start};

/// How to call functions in this XML, in the words of the training data.
pub(in crate::families) const XML_CALLS: &str = "\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\nmultiple lines\n</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within <tool_call></tool_call> XML tags\n- Required parameters MUST be specified\n- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after\n- If there is no function call available, answer the question like normal with your current knowledge and do not tell the user about function calls\n</IMPORTANT>";

pub(in crate::families) const PRESERVED: &[&str] =
    &["<think>", "</think>", "<tool_call>", "</tool_call>"];
pub(in crate::families) const PRESERVED_WITHOUT_THINKING: &[&str] =
    &["<tool_call>", "</tool_call>"];

static RULES: Rules = Rules {
    think: ["<think>", "</think>"],
    call: ["<tool_call>", "</tool_call>"],
    drops_echo: true,
    call_ends_thinking: true,
    shows_rest: false,
    read,
    is_json: false,
    read_unfinished: None,
};

/// Models that do not think.
pub(in crate::families) fn coder(start: &Start<'_>) -> Box<dyn Parser> {
    Box::new(Tagged::new(&RULES, Begin::Content, start.tools))
}

/// Models that think unless the request forbids it.
pub(in crate::families) fn thinking_coder(start: &Start<'_>) -> Box<dyn Parser> {
    let wanted = thinks_by_default(start) && !continues_content(start);
    Box::new(Tagged::new(&RULES, begin(start, wanted), start.tools))
}

/// `<function=NAME><parameter=KEY>⏎VALUE⏎</parameter>…</function>`
fn read(raw: &str, tools: &[ToolDefinition]) -> Result<Vec<ToolCall>, ParseError> {
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
