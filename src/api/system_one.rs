//! Decisions in the format of `TypeSafe`'s System One API, which Ollama, llama-server, vLLM and `LocalAI` also have.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::named::{Named, NamedOrListed};
use crate::chat::{Image, null_is_default};
use crate::json::BASE64;

/// Body of `POST /v1/systemone`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct SystemOneRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// What the questions are about: a text, an object or a list.
    pub state: Value,
    /// Questions by names that the client chooses; the answers have the same names.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(value_type = BTreeMap<String, SystemOneQuestion>, default)]
    pub questions: Named<SystemOneQuestion>,
    /// Images that belong to the state, in base64 or as data addresses.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(value_type = Vec<String>, default)]
    pub images: Vec<Picture>,
    /// Another name of `images`.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(value_type = Vec<String>, default)]
    pub files: Vec<Picture>,
    /// `TypeSafe`'s way to send images, which is refused.
    pub assets: Value,
    /// The system message before the state.
    #[serde(deserialize_with = "null_is_default")]
    pub instructions: String,
    /// How long the model stays loaded, as in Ollama's API.
    pub keep_alive: Value,
}

/// A question.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct SystemOneQuestion {
    /// `choice`, `score` or `noul`
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    /// What is asked: a text, an object or a list.
    pub instructions: Value,
    /// Of a choice: the options with their descriptions, or a list of names. Of a score: the levels, lowest first.
    /// Of a noul: what `true` and `false` mean.
    #[schema(value_type = Value, default)]
    pub criteria: NamedOrListed,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture(pub Image);

impl<'de> Deserialize<'de> for Picture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(BASE64, PictureVisitor)
    }
}

/// Decodes borrowed text without copying it first.
struct PictureVisitor;

impl<'de> Visitor<'de> for PictureVisitor {
    type Value = Picture;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an image in base64 or as a data address")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, text: D) -> Result<Picture, D::Error> {
        text.deserialize_str(self)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Picture, E> {
        let data = match text.strip_prefix("data:") {
            Some(address) => address.split_once(";base64,").map(|(_, data)| data),
            None => Some(text),
        };
        let data = data.ok_or_else(|| E::custom("invalid image input"))?;
        Image::from_base64(data).map(Picture).map_err(E::custom)
    }
}

/// Answer of `POST /v1/systemone`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SystemOneResponse {
    pub model: String,
    /// In the order of the questions.
    #[schema(value_type = BTreeMap<String, SystemOneAnswer>)]
    pub answers: Named<SystemOneAnswer>,
    pub usage: SystemOneUsage,
}

/// An answer, of its question's type.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SystemOneAnswer {
    Noul {
        /// The probability of yes.
        noul: f64,
        /// The total probability of the labels among all tokens: if it is small, the model wanted to say something
        /// else.
        x_label_mass: f64,
    },
    Choice {
        /// The likeliest option.
        choice: String,
        #[schema(value_type = BTreeMap<String, f64>)]
        probabilities: Named<f64>,
        /// From 0 (all options are equally likely) to 1.
        confidence: f64,
        x_label_mass: f64,
    },
    Score {
        /// The mean level; levels count from 0.
        score: f64,
        /// The levels by their numbers.
        #[schema(value_type = BTreeMap<String, Value>)]
        legend: Named<Value>,
        #[schema(value_type = BTreeMap<String, f64>)]
        probabilities: Named<f64>,
        /// From 0 (all levels are equally likely) to 1.
        confidence: f64,
        x_label_mass: f64,
    },
}

/// Token counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct SystemOneUsage {
    /// Tokens of all questions; the tokens of the state count once.
    pub input_tokens: u64,
    /// Always 0: nothing is generated.
    pub output_tokens: u64,
    pub input_tokens_details: SystemOneTokens,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct SystemOneTokens {
    /// The part that came from the prefix cache.
    pub cached_tokens: u64,
}
