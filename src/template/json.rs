//! JSON as Go's encoder writes it: compact, sorted, safe inside HTML.

use super::format::Sink;
use super::number;
use super::value::{Content, Value};

/// Writes a value; for a value that JSON cannot hold, the error is Go's.
pub(super) fn write(out: &mut Sink, value: &Value) -> Result<(), String> {
    match value {
        Value::Absent | Value::Nil => out.push("null"),
        Value::Bool(value) => out.push(if *value { "true" } else { "false" }),
        Value::Int(value) => out.push(&value.to_string()),
        Value::Float(value) => match number::json(*value) {
            Some(text) => out.push(&text),
            None => return Err(format!("json: unsupported value: {value}")),
        },
        Value::String(bytes) => string(out, &String::from_utf8_lossy(bytes)),
        Value::List(list) => {
            out.push("[");
            for (index, item) in list.items().iter().enumerate() {
                out.push(if index > 0 { "," } else { "" });
                write(out, item)?;
            }
            out.push("]");
        }
        Value::Map(map) => {
            let entries = map.iter().map(|(key, value)| (key.as_str(), value));
            object(out, entries)?;
        }
        Value::Typed(typed) => match (&typed.json, &typed.content) {
            (Some(json), _) => out.push(json),
            (None, Content::Plain(value)) => write(out, value)?,
            (None, Content::Fields(fields)) => {
                object(out, fields.iter().map(|(name, value)| (*name, value)))?;
            }
        },
    }
    Ok(())
}

fn object<'a>(
    out: &mut Sink,
    entries: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Result<(), String> {
    out.push("{");
    for (index, (key, value)) in entries.enumerate() {
        out.push(if index > 0 { "," } else { "" });
        string(out, key);
        out.push(":");
        write(out, value)?;
    }
    out.push("}");
    Ok(())
}

fn string(out: &mut Sink, text: &str) {
    let quoted = serde_json::Value::from(text).to_string();
    let special = ['<', '>', '&', '\u{2028}', '\u{2029}'];
    let mut rest = quoted.as_str();
    while let Some(at) = rest.find(special) {
        let (plain, tail) = rest.split_at(at);
        out.push(plain);
        let mut characters = tail.chars();
        let code = characters.next().map_or(0, u32::from);
        out.push(&format!("\\u{code:04x}"));
        rest = characters.as_str();
    }
    out.push(rest);
}
