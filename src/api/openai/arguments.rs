//! Arguments of a call: JSON in a string.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::json::{NESTED, deep};

/// The arguments of an earlier call; `None` = the text is not a JSON object.
#[derive(Debug, Clone, PartialEq)]
pub struct Arguments(pub Option<Map<String, Value>>);

/// Absent or empty: a call without arguments.
impl Default for Arguments {
    fn default() -> Self {
        Self(Some(Map::new()))
    }
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NESTED, Nested)
    }
}

struct Nested;

impl<'de> Visitor<'de> for Nested {
    type Value = Arguments;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text of JSON")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, text: D) -> Result<Arguments, D::Error> {
        text.deserialize_str(self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Arguments, E> {
        if text.is_empty() {
            return Ok(Arguments::default());
        }
        match deep::parse(text, deep::MAX_LEVELS) {
            Ok(Value::Object(arguments)) => Ok(Arguments(Some(arguments))),
            _ => Ok(Arguments(None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn they_are_as_deep_as_a_request() {
        let read = |text: &str| serde_json::from_value::<Arguments>(json!(text)).unwrap().0;
        let nested = |n: usize| format!("{}1{}", r#"{"a":"#.repeat(n), "}".repeat(n));
        let text = nested(deep::MAX_LEVELS);
        let arguments = read(&text).unwrap();
        assert_eq!(Value::Object(arguments).to_string(), text);
        assert_eq!(read(&nested(deep::MAX_LEVELS + 1)), None);
        assert_eq!(read(""), Some(Map::new()));
        for text in ["[1]", "1", "{", "{} {}", "text"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
