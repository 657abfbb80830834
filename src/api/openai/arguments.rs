//! Arguments of a call: JSON in a string.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::json::NESTED;

/// The arguments of an earlier call; `None` = the text is no object.
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
        Ok(Arguments(serde_json::from_str(text).ok()))
    }
}
