//! OpenAI's Decisions API.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::responses::ResponseUsage;
use crate::chat::null_is_default;

/// Body of `POST /v1/decisions`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct DecisionRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// A text, or a list of messages, calls and their results.
    pub input: Value,
    #[serde(deserialize_with = "null_is_default")]
    #[schema(default)]
    pub questions: Vec<DecisionQuestion>,
}

/// A question.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct DecisionQuestion {
    /// `predicate`, `choice` or `score`
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    pub name: Option<String>,
    /// A text, or a list of texts (`input_text`) and JSON values (`input_json`).
    pub instructions: Value,
    /// The options of a choice.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(default)]
    pub choices: Vec<DecisionChoice>,
    /// The levels of a score, lowest first.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(default)]
    pub levels: Vec<DecisionLevel>,
}

/// An option.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct DecisionChoice {
    /// A text, or true or false.
    pub value: Value,
    #[serde(deserialize_with = "null_is_default")]
    pub description: String,
}

/// A level of a scale.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct DecisionLevel {
    #[serde(deserialize_with = "null_is_default")]
    pub label: String,
    #[serde(deserialize_with = "null_is_default")]
    pub description: String,
}

/// Answer of `POST /v1/decisions`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Decision {
    pub model: String,
    /// In the order of the questions.
    pub answers: Vec<DecisionAnswer>,
    pub usage: ResponseUsage,
}

/// An answer, of its question's type.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DecisionAnswer {
    Predicate {
        #[schema(required)]
        name: Option<String>,
        /// The probability that the statement is true.
        probability: f64,
    },
    Choice {
        #[schema(required)]
        name: Option<String>,
        /// The likeliest option.
        choice: Value,
        probabilities: Vec<ChoiceProbability>,
        /// From 0 (all options are equally likely) to 1.
        confidence: f64,
    },
    Score {
        #[schema(required)]
        name: Option<String>,
        /// The mean level; levels count from 0.
        score: f64,
        probabilities: Vec<LevelProbability>,
        /// From 0 (all levels are equally likely) to 1.
        confidence: f64,
    },
}

/// The probability of an option.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChoiceProbability {
    pub value: Value,
    pub probability: f64,
}

/// The probability of a level.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LevelProbability {
    /// The number of the level.
    pub value: usize,
    pub label: String,
    pub probability: f64,
}
