//! Converts arguments with unquoted keys and `<|"|>` around texts to JSON.

use serde_json::{Map, Value};

use super::QUOTE;

/// Reads `{key:<|"|>text<|"|>,other:1}`.
pub(super) fn read(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(&to_json(text)).ok()
}

/// Texts become JSON strings, bare keys get quotes; the rest is copied.
fn to_json(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while !rest.is_empty() {
        if let Some((inside, after)) = delimited(rest) {
            json.push_str(&Value::from(inside).to_string());
            rest = after;
        } else if let Some(end) = quoted_end(rest) {
            json.push_str(&rest[..end]);
            rest = &rest[end..];
        } else {
            rest = next(rest, &mut json);
        }
    }
    json
}

/// Copies a character; after an opening brace or a comma also a key, in quotes.
fn next<'a>(rest: &'a str, json: &mut String) -> &'a str {
    let mut signs = rest.chars();
    let Some(sign) = signs.next() else {
        return "";
    };
    json.push(sign);
    let after = signs.as_str();
    if !matches!(sign, '{' | ',') {
        return after;
    }
    let key = after.trim_start();
    let blank = &after[..after.len() - key.len()];
    json.push_str(blank);
    let end = key_end(key);
    if end > 0 && key[end..].starts_with(':') {
        json.push('"');
        json.push_str(&key[..end]);
        json.push_str("\":");
        return &key[end + 1..];
    }
    key
}

/// Where a bare key ends.
pub(super) fn key_end(text: &str) -> usize {
    let is_part = |c: char| c == '_' || c.is_alphanumeric();
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

/// The text between two delimiters at the beginning, and the rest after them.
pub(super) fn delimited(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(QUOTE)?.split_once(QUOTE)
}

/// Where a JSON string that begins here ends.
pub(super) fn quoted_end(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        if c == '"' && !escaped {
            return Some(at + 2);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}
