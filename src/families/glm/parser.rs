//! GLM 4: calls as a name with pairs of `<arg_key>` and `<arg_value>`.

use serde_json::Map;

use crate::chat::{ToolCall, ToolDefinition};
use crate::families::shared::call::{call, declared, typed_value, types};
use crate::families::shared::tagged::{
    Begin, Rules, Tagged, begin, continues_content, earliest, thinks_by_default,
};
use crate::parser::held::overlap;
use crate::parser::{ParseError, Parser, Start};

pub(super) const PRESERVED: &[&str] = &[
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    KEY,
    KEY_END,
    VALUE,
    VALUE_END,
];

const KEY: &str = "<arg_key>";
const KEY_END: &str = "</arg_key>";
const VALUE: &str = "<arg_value>";
const VALUE_END: &str = "</arg_value>";

/// The tags in the order in which they follow each other.
const CYCLE: [&str; 4] = [KEY, KEY_END, VALUE, VALUE_END];

static RULES: Rules = Rules {
    think: ["<think>", "</think>"],
    call: ["<tool_call>", "</tool_call>"],
    drops_echo: false,
    call_ends_thinking: false,
    shows_rest: false,
    read,
    is_json: false,
    read_unfinished: Some(read_unfinished),
};

pub(super) fn thinking(start: &Start<'_>) -> Box<dyn Parser> {
    // A model with thinking off may still open thinking by itself.
    let begin = match begin(start, thinks_by_default(start)) {
        Begin::Content if !continues_content(start) => Begin::Look,
        begin => begin,
    };
    Box::new(Tagged::new(&RULES, begin, start.tools))
}

/// The parser for GLM-OCR: the model decides whether it thinks.
pub(super) fn ocr(start: &Start<'_>) -> Box<dyn Parser> {
    Box::new(Tagged::new(&RULES, Begin::Look, start.tools))
}

/// A call's parts.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) keys: Vec<String>,
    pub(super) values: Vec<String>,
}

impl Parts {
    /// Reads a call whose tags are all in place.
    pub(super) fn strict(raw: &str) -> Option<Self> {
        let mut parts = Self::default();
        let mut rest = raw;
        while let Some((at, tag)) = earliest(rest, &CYCLE) {
            parts.name.push_str(&rest[..at]);
            let (end, list) = match tag {
                KEY => (KEY_END, &mut parts.keys),
                VALUE => (VALUE_END, &mut parts.values),
                _ => return None,
            };
            let (inside, after) = rest[at + tag.len()..].split_once(end)?;
            if earliest(inside, &CYCLE).is_some() {
                return None;
            }
            list.push(inside.to_owned());
            rest = after;
        }
        parts.name.push_str(rest);
        Some(parts)
    }

    /// The call, with values converted to the types that the tool declares.
    pub(super) fn call(self, tools: &[ToolDefinition]) -> Result<ToolCall, ParseError> {
        let name = self.name.trim();
        if name.is_empty() {
            return Err(ParseError("empty function name".to_owned()));
        }
        let (n_keys, n_values) = (self.keys.len(), self.values.len());
        if n_keys != n_values {
            return Err(ParseError(format!(
                "mismatched arg_key and arg_value counts: {n_keys} keys, {n_values} values"
            )));
        }
        let tool = declared(tools, name);
        let mut arguments = Map::new();
        for (key, value) in self.keys.iter().zip(&self.values) {
            let key = key.trim();
            arguments.insert(key.to_owned(), typed_value(value, &types(tool, key)));
        }
        Ok(call(name, arguments))
    }
}

fn read(raw: &str, tools: &[ToolDefinition]) -> Result<Vec<ToolCall>, ParseError> {
    let raw = raw.trim();
    let parts = Parts::strict(raw).or_else(|| Parts::strict(&repair(raw)));
    let parts = parts.ok_or_else(|| ParseError("failed to parse XML".to_owned()))?;
    Ok(vec![parts.call(tools)?])
}

/// A call without its end is accepted only if it needs no repair, is declared and has all required arguments: a
/// repaired call could do what the model never meant.
fn read_unfinished(raw: &str, tools: &[ToolDefinition]) -> Result<Vec<ToolCall>, ParseError> {
    let checked = || {
        let cut = raw.len() - overlap(raw, "</tool_call>");
        let parts = Parts::strict(raw[..cut].trim())
            .ok_or_else(|| ParseError("its tags do not match".to_owned()))?;
        let call = parts.call(tools)?;
        let name = &call.function.name;
        let tool = declared(tools, name)
            .ok_or_else(|| ParseError(format!("tool {name:?} is not declared")))?;
        if call.function.arguments.contains_key("") {
            return Err(ParseError("empty argument name".to_owned()));
        }
        let required = tool.function.parameters.get("required");
        let required = required
            .and_then(serde_json::Value::as_array)
            .into_iter()
            .flatten();
        for key in required.filter_map(serde_json::Value::as_str) {
            if !call.function.arguments.contains_key(key) {
                return Err(ParseError(format!(
                    "required argument {key:?} is missing for tool {name:?}"
                )));
            }
        }
        Ok(call)
    };
    match checked() {
        Ok(call) => Ok(vec![call]),
        Err(error) => Err(ParseError(format!("incomplete GLM tool call: {error}"))),
    }
}

/// Inserts the tags that a model has left out, by their order.
fn repair(raw: &str) -> String {
    let Some((at, first)) = earliest(raw, &CYCLE) else {
        return raw.to_owned();
    };
    let (prefix, mut rest) = raw.split_at(at);
    let mut text = String::with_capacity(raw.len() + 64);
    let mut phase = 0;
    match prefix.find(char::is_whitespace) {
        // A name has no blanks: what follows a blank is a key.
        Some(blank) if first != KEY => {
            text.push_str(&prefix[..blank]);
            text.push_str(KEY);
            text.push_str(prefix[blank..].trim_start());
            phase = 1;
        }
        _ => text.push_str(prefix),
    }
    while !rest.is_empty() {
        let expected = CYCLE[phase];
        let is_opening = phase % 2 == 0;
        let Some((mut at, found)) = earliest(rest, &CYCLE) else {
            if !is_opening {
                text.push_str(rest);
                text.push_str(expected);
                phase = (phase + 1) % CYCLE.len();
            }
            break;
        };
        if found == expected {
            text.push_str(&rest[..at]);
            text.push_str(expected);
            rest = &rest[at + expected.len()..];
            phase = (phase + 1) % CYCLE.len();
            continue;
        }
        if is_opening && at > 0 {
            text.push_str(expected);
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            phase = (phase + 1) % CYCLE.len();
            continue;
        }
        let wanted = CYCLE
            .iter()
            .position(|tag| *tag == found)
            .unwrap_or_default();
        while phase != wanted {
            if phase % 2 == 1 && (phase + 1) % CYCLE.len() == wanted && at > 0 {
                text.push_str(&rest[..at]);
                rest = &rest[at..];
                at = 0;
            }
            text.push_str(CYCLE[phase]);
            phase = (phase + 1) % CYCLE.len();
        }
    }
    // Closes the pair that was begun.
    for tag in CYCLE.iter().skip(phase).filter(|_| phase > 0) {
        text.push_str(tag);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chat::Think;
    use crate::parser::cut::{self, check_cuts, joined};

    fn tools() -> Vec<ToolDefinition> {
        vec![cut::tool(&json!({"name": "f", "parameters":
            {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}))]
    }

    fn parse(text: &str) -> Result<crate::parser::Piece, ParseError> {
        cut::parse(thinking, &tools(), text)
    }

    #[test]
    fn pairs_become_arguments() {
        let piece = parse("hm</think>Yes.<tool_call>f\n<arg_key>n</arg_key>\n<arg_value>3</arg_value></tool_call>").unwrap();
        assert_eq!(
            (piece.thinking.as_str(), piece.content.as_str()),
            ("hm", "Yes.")
        );
        assert_eq!(piece.tool_calls[0].function.arguments["n"], 3);
    }

    #[test]
    fn tags_that_were_left_out_are_put_in() {
        for text in [
            "f n</arg_key><arg_value>3</arg_value>",
            "f<arg_key>n<arg_value>3</arg_value>",
            "f<arg_key>n</arg_key>3</arg_value>",
            "f<arg_key>n</arg_key><arg_value>3",
        ] {
            let piece = parse(&format!("</think><tool_call>{text}</tool_call>")).unwrap();
            assert_eq!(piece.tool_calls[0].function.arguments["n"], 3, "{text}");
        }
    }

    #[test]
    fn a_call_that_was_cut_off_counts_only_if_it_is_complete() {
        let whole = "</think><tool_call>f<arg_key>n</arg_key><arg_value>3</arg_value></tool";
        assert_eq!(parse(whole).unwrap().tool_calls.len(), 1);
        for text in ["f", "f<arg_key>n</arg_key><arg_value>3", "g"] {
            let error = parse(&format!("</think><tool_call>{text}")).unwrap_err();
            assert!(error.0.starts_with("incomplete GLM tool call: "), "{error}");
        }
    }

    #[test]
    fn a_model_that_is_not_to_think_may_open_thinking_itself() {
        let start = Start {
            think: Some(Think::Off),
            ..Start::default()
        };
        let piece = joined(&mut *thinking(&start), ["\n<think>hm", "</think>Yes."]).unwrap();
        let told = (piece.thinking.as_str(), piece.content.as_str());
        assert_eq!(told, ("hm", "Yes."));
        let piece = joined(&mut *thinking(&start), ["Yes <think>."]).unwrap();
        assert_eq!(piece.content, "Yes <think>.");
    }

    #[test]
    fn cuts_do_not_matter() {
        for new in [thinking, ocr] {
            check_cuts(
                || new(&Start::default()),
                r"(<think>)?[a <\n]{0,6}(</think>)?[b <\n]{0,5}(<tool_call>f ?<arg_key>k</arg_key><arg_value>[v<\n]{0,3}</arg_value></tool_call>)?[c \n]{0,3}",
            );
        }
    }
}
