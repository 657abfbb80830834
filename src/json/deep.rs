//! JSON nested more deeply than `serde_json` reads it into a tree.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::scan::{is_deeper, value_len};

/// The most levels of a JSON value in a request: the code that walks such values is recursive. Schemas with
/// a hundred nested objects have more levels than `serde_json` reads.
pub const MAX_LEVELS: usize = 400;

/// Parses a text with at most `most_levels` nested lists and objects. Each level takes stack space.
///
/// # Errors
/// The text is not JSON, or is nested too deeply.
pub fn parse(text: &str, most_levels: usize) -> Result<Value, String> {
    // Checks the syntax only: it builds no tree and has no depth limit.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    if is_deeper(text, most_levels) {
        return Err(format!("more than {most_levels} levels"));
    }
    let mut rest = text;
    value(&mut rest).ok_or_else(|| "no JSON".to_owned())
}

/// Parses a number. One that is too large for a float becomes the largest float, since its text is valid
/// JSON.
pub fn number(text: &str) -> Option<Value> {
    if let Ok(number) = serde_json::from_str(text) {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    Some(number.clamp(f64::MIN, f64::MAX).into())
}

/// Takes the value at the start of the text.
fn value(rest: &mut &str) -> Option<Value> {
    *rest = rest.trim_ascii_start();
    match rest.bytes().next()? {
        b'{' => {
            let mut fields = Map::new();
            *rest = &rest[1..];
            while !ends(rest, '}') {
                let key = serde_json::from_str(take(rest)?).ok()?;
                pass(rest, ':')?;
                fields.insert(key, value(rest)?);
                let _ = pass(rest, ',');
            }
            Some(Value::Object(fields))
        }
        b'[' => {
            let mut items = Vec::new();
            *rest = &rest[1..];
            while !ends(rest, ']') {
                items.push(value(rest)?);
                let _ = pass(rest, ',');
            }
            Some(Value::Array(items))
        }
        b'-' | b'0'..=b'9' => number(take(rest)?),
        _ => serde_json::from_str(take(rest)?).ok(),
    }
}

/// Takes the text of the next value that is neither a list nor an object.
fn take<'a>(rest: &mut &'a str) -> Option<&'a str> {
    *rest = rest.trim_ascii_start();
    let (text, after) = rest.split_at_checked(value_len(rest))?;
    *rest = after;
    (!text.is_empty()).then_some(text)
}

fn pass(rest: &mut &str, character: char) -> Option<()> {
    *rest = rest.trim_ascii_start().strip_prefix(character)?;
    Some(())
}

/// Whether a list or an object ends here, and takes the end. The end of the text counts as one.
fn ends(rest: &mut &str, end: char) -> bool {
    *rest = rest.trim_ascii_start();
    rest.is_empty() || pass(rest, end).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn depth_is_limited_and_large_numbers_are_not() {
        let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&nested(500), 500).is_ok());
        assert!(parse(&nested(501), 500).is_err());
        for bad in ["", "{", "[1", "{\"a\":}", "[1 2]", "nul", "1 2"] {
            assert!(parse(bad, 10).is_err(), "{bad}");
        }
        let read = parse(r#"{"a": [1.8e308, -1e999], "b" : 0.5}"#, 10);
        assert_eq!(read.unwrap(), json!({"a": [f64::MAX, f64::MIN], "b": 0.5}));
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_reads(
            text in "[\\[\\]{},: \\n\"a\\\\1.e-]{0,24}|\\{\"a\": ?\\[1, ?\"[a\\\\\"]{0,3}\", ?(true|null|\\{\\})\\]\\}"
        ) {
            let expected = serde_json::from_str::<Value>(&text).ok();
            prop_assert_eq!(parse(&text, 100).ok(), expected);
        }
    }
}
