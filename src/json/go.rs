//! JSON as Go's encoder writes it, so that the digests of our blobs equal Ollama's, and our prompts its prompts.
//!
//! Compact (files end with a newline), `<`, `>`, `&` and the line separators escaped, whole floats
//! without decimals. Maps keep the order given; [`sorted`] orders them by key first.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value};

/// Serialises a blob's content.
///
/// # Errors
/// Fails when a map has keys that are not strings.
pub fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, GoFormatter))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes a value on one line, without a newline; integers that a float cannot hold exactly are written as
/// the float, because Go decodes every number as a float.
pub fn to_string(value: &Value) -> String {
    write(value, true)
}

/// Like [`to_string`], but with `<`, `>` and `&` unescaped.
pub fn to_string_plain(value: &Value) -> String {
    write(value, false)
}

fn write(value: &Value, escapes: bool) -> String {
    let mut bytes = Vec::new();
    let formatter = ValueFormatter { escapes };
    // Neither the buffer nor a JSON value can fail.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter));
    String::from_utf8(bytes).unwrap_or_default()
}

/// Returns the map with its keys, and those of the maps in it, in byte order.
pub fn sorted(map: &Map<String, Value>) -> Map<String, Value> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| key.as_str());
    entries
        .into_iter()
        .map(|(key, value)| (key.clone(), sorted_value(value)))
        .collect()
}

/// Returns the value with the keys of all its maps in byte order.
pub fn sorted_value(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(sorted(map)),
        Value::Array(items) => items.iter().map(sorted_value).collect(),
        other => other.clone(),
    }
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, tail) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = tail.chars();
            if let Some(c) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_f32<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        // Both languages print the shortest text of the narrow type.
        let wide: f64 = value.to_string().parse().unwrap_or(f64::from(value));
        self.write_f64(writer, wide)
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let size = value.abs();
        if size != 0.0 && !(1e-6..1e21).contains(&size) {
            let text = format!("{value:e}");
            // Go writes a sign on every exponent: 1e+21, 1e-07 is cut to 1e-7.
            return match text.split_once('e') {
                Some((digits, exponent)) if !exponent.starts_with('-') => {
                    write!(writer, "{digits}e+{exponent}")
                }
                _ => writer.write_all(text.as_bytes()),
            };
        }
        write!(writer, "{value}")
    }
}

/// Writes numbers as Go's `any` holds them: as floats.
struct ValueFormatter {
    escapes: bool,
}

/// Above this, a float cannot hold every integer.
const EXACT: u64 = 1 << 53;

impl Formatter for ValueFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if self.escapes {
            return GoFormatter.write_string_fragment(writer, fragment);
        }
        // Go always escapes these two.
        let text = fragment
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029");
        writer.write_all(text.as_bytes())
    }

    fn write_i64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        if value.unsigned_abs() > EXACT {
            return self.write_f64(writer, value as f64);
        }
        write!(writer, "{value}")
    }

    fn write_u64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        if value > EXACT {
            return self.write_f64(writer, value as f64);
        }
        write!(writer, "{value}")
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        GoFormatter.write_f64(writer, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(value: &Value, text: &str) {
        assert_eq!(
            String::from_utf8(to_vec(value).unwrap()).unwrap(),
            format!("{text}\n")
        );
    }

    #[test]
    fn like_go() {
        check(
            &json!({"stop": ["<|im_start|>"]}),
            r#"{"stop":["\u003c|im_start|\u003e"]}"#,
        );
        check(
            &json!("a&b\u{2028}\u{e9}\"\n"),
            "\"a\\u0026b\\u2028\u{e9}\\\"\\n\"",
        );
        check(
            &json!([1.0, 0.6, 1e21, 1e-7, -2.5, 0.0, 1_048_576]),
            "[1,0.6,1e+21,1e-7,-2.5,0,1048576]",
        );
        assert_eq!(to_vec(&0.6f32).unwrap(), b"0.6\n");
    }

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let map = json!({"b": {"z": 1, "a": 2}, "a": [{"y": 1, "x": 2}]});
        let sorted = sorted(map.as_object().unwrap());
        check(
            &Value::Object(sorted),
            r#"{"a":[{"x":2,"y":1}],"b":{"a":2,"z":1}}"#,
        );
    }
}
