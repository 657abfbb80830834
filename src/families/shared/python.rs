//! Calls written as in Python: `f(a='x', b=[1, 2]), g()`.

use serde_json::{Map, Value};

/// How strings are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::families) enum Strings {
    /// Escapes are resolved.
    Unescaped,
    /// The text between the quotes as it is.
    Verbatim,
}

/// Splits at commas outside brackets and quotes.
pub(in crate::families) fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut depth = 0_i32;
    let mut scan = Scan::default();
    for (at, c) in text.char_indices() {
        if !scan.is_outside(c) {
            continue;
        }
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < text.len() {
        parts.push(&text[start..]);
    }
    parts
}

/// The position of the bracket that closes the one open at the beginning of `text`.
pub(in crate::families) fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    let mut scan = Scan::default();
    for (at, c) in text.char_indices() {
        if !scan.is_outside(c) {
            continue;
        }
        match c {
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Tells which characters are outside quotes.
#[derive(Debug, Default)]
struct Scan {
    quote: Option<char>,
    escaped: bool,
}

impl Scan {
    fn is_outside(&mut self, c: char) -> bool {
        let Some(quote) = self.quote else {
            if matches!(c, '\'' | '"') {
                self.quote = Some(c);
                return false;
            }
            return true;
        };
        if self.escaped {
            self.escaped = false;
        } else if c == '\\' {
            self.escaped = true;
        } else if c == quote {
            self.quote = None;
        }
        false
    }
}

/// The parts between the commas, without blanks around them.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let parts = split(text).into_iter().map(str::trim);
    parts.filter(|part| !part.is_empty())
}

/// Reads `a='x', b=1`.
pub(in crate::families) fn arguments(text: &str, strings: Strings) -> Option<Map<String, Value>> {
    parts(text)
        .map(|part| {
            let (key, value) = part.split_once('=')?;
            let key = key.trim();
            (!key.is_empty()).then(|| (key.to_owned(), self::value(value, strings)))
        })
        .collect()
}

/// Parses a literal; anything else is a string.
pub(in crate::families) fn value(text: &str, strings: Strings) -> Value {
    let text = text.trim();
    if let Some(inside) = quoted(text) {
        return match strings {
            Strings::Unescaped => unescape(inside).into(),
            Strings::Verbatim => inside.into(),
        };
    }
    match text {
        "true" | "True" => return true.into(),
        "false" | "False" => return false.into(),
        "null" | "None" => return Value::Null,
        "nil" if strings == Strings::Unescaped => return Value::Null,
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
        return number.into();
    }
    let inside = |open, close| text.strip_prefix(open)?.strip_suffix(close);
    if let Some(items) = inside('[', ']') {
        return split(items.trim())
            .iter()
            .map(|item| value(item, strings))
            .collect();
    }
    if let Some(entries) = inside('{', '}')
        && let Some(map) = object(entries, strings)
    {
        return Value::Object(map);
    }
    text.into()
}

fn object(text: &str, strings: Strings) -> Option<Map<String, Value>> {
    parts(text.trim())
        .map(|part| {
            let colon = key_end(part)?;
            let key = part[..colon].trim();
            let key = quoted(key).unwrap_or(key);
            Some((key.to_owned(), value(&part[colon + 1..], strings)))
        })
        .collect()
}

/// The position of the colon after a key, which may be quoted.
fn key_end(part: &str) -> Option<usize> {
    let mut scan = Scan::default();
    let mut signs = part.char_indices();
    let found = signs.find(|(_, c)| scan.is_outside(*c) && *c == ':');
    found.map(|(at, _)| at)
}

fn quoted(text: &str) -> Option<&str> {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some(sign @ ('\\' | '"' | '\'')) => out.push(sign),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_are_read() {
        let text = r#"a='it\'s', b=[1, "x,y", None], c={"k": True, 'l': 1.5}, d=word"#;
        let read = arguments(text, Strings::Unescaped).unwrap();
        assert_eq!(
            Value::Object(read),
            json!({"a": "it's", "b": [1, "x,y", null], "c": {"k": true, "l": 1.5}, "d": "word"})
        );
        assert_eq!(
            arguments("a='x\\n'", Strings::Verbatim).unwrap()["a"],
            "x\\n"
        );
        assert!(arguments("nonsense", Strings::Unescaped).is_none());
        assert_eq!(closing("a(')'))b"), Some(6));
    }
}
