//! The `think` value of a request: off, on, or on with a level.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// How much a model should reason before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Think {
    /// `false`
    Off,
    /// `true`
    On,
    /// `"low"`, `"medium"`, `"high"`, `"max"`
    Level(ThinkLevel),
}

/// The levels that some models know; others treat any of them as [`Think::On`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThinkLevel {
    Low,
    Medium,
    High,
    Max,
}

impl ThinkLevel {
    /// Returns the word that requests and templates use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Max => "max",
        }
    }
}

impl Think {
    /// Whether the request asks for reasoning.
    pub fn is_on(self) -> bool {
        self != Self::Off
    }

    /// Reads the JSON value of a request; `null` is `None`.
    ///
    /// # Errors
    /// Returns Ollama's text for other strings and types.
    pub fn from_json(value: &Value) -> Result<Option<Self>, String> {
        match value {
            Value::Null => Ok(None),
            Value::Bool(false) => Ok(Some(Self::Off)),
            Value::Bool(true) => Ok(Some(Self::On)),
            Value::String(word) => Self::from_word(word).map(Some),
            _ => Err("think must be a boolean or string (\"high\", \"medium\", \"low\", \"max\", true, or false)".to_owned()),
        }
    }

    fn from_word(word: &str) -> Result<Self, String> {
        [ThinkLevel::Low, ThinkLevel::Medium, ThinkLevel::High, ThinkLevel::Max]
            .into_iter()
            .find(|level| level.as_str() == word)
            .map(Self::Level)
            .ok_or_else(|| {
                format!("invalid think value: \"{word}\" (must be \"high\", \"medium\", \"low\", \"max\", true, or false)")
            })
    }
}

impl Serialize for Think {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::On => serializer.serialize_bool(true),
            Self::Level(level) => serializer.serialize_str(level.as_str()),
        }
    }
}

impl<'de> Deserialize<'de> for Think {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_json(&value)
            .and_then(|think| think.ok_or_else(|| "think must not be null".to_owned()))
            .map_err(de::Error::custom)
    }
}
