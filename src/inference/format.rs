//! The `format` field: free text, JSON, JSON that matches a schema, and, beyond Ollama, text that matches a
//! regular expression or a grammar.

use serde_json::Value;

use super::error::{RequestError, invalid, mistaken};
use crate::protocol::Constraint;

/// Parses `format`: `"json"` or a JSON schema, and drover's own `regex` and `grammar` objects.
///
/// # Errors
/// 500 with Ollama's text for anything but `"json"` and an object; 400 for a grammar in an unsupported
/// language.
pub(super) fn parse(format: &Value) -> Result<Option<Constraint>, RequestError> {
    match format {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if text == "json" => Ok(Some(Constraint::JsonObject)),
        Value::Object(fields) if fields.get("type").is_some_and(|kind| kind == "regex") => {
            let pattern = text_of(format, "pattern")?;
            Ok(Some(Constraint::Regex(pattern)))
        }
        Value::Object(fields) if fields.get("type").is_some_and(|kind| kind == "grammar") => {
            let grammar = text_of(format, "grammar")?;
            if grammar.contains("::=") {
                return Err(invalid(
                    "this grammar is written in GBNF; grammars are read in Lark's syntax, where a \
                     rule is `name: …` and the first one is `start`",
                ));
            }
            Ok(Some(Constraint::Lark(grammar)))
        }
        Value::Object(_) => Ok(Some(Constraint::JsonSchema(format.to_string()))),
        other => Err(mistaken(format!(
            "invalid format: {:?}; expected \"json\" or a valid JSON Schema object",
            other.to_string()
        ))),
    }
}

/// A field of a `format` object that is not a JSON schema, since its type is not one of JSON Schema's.
fn text_of(format: &Value, field: &str) -> Result<String, RequestError> {
    let text = format.get(field).and_then(Value::as_str);
    let text = text.filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| {
        invalid(format!(
            "invalid format: `{field}` must be a text that is not empty"
        ))
    })
}
