//! Reranking as Jina, Cohere and Hugging Face's text-embeddings-inference spell it, and vLLM's scores.

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

use super::openai::EmbeddingUsage;
use crate::chat::null_is_default;

/// Body of `POST /v1/rerank` and its other paths.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RerankRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    pub query: Option<Document>,
    /// Texts, or objects with a text.
    #[serde(deserialize_with = "null_is_default")]
    pub documents: Vec<Document>,
    /// Text-embeddings-inference's name for `documents`; the answer then has its form.
    #[serde(deserialize_with = "null_is_default")]
    pub texts: Vec<Document>,
    /// How many of the best results are returned; `None` = all.
    pub top_n: Option<i64>,
    #[serde(deserialize_with = "null_is_default")]
    pub return_documents: bool,
    /// Text-embeddings-inference's name for `return_documents`.
    #[serde(deserialize_with = "null_is_default")]
    pub return_text: bool,
}

/// A text, alone or in an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document(pub String);

/// Answer of `POST /v1/rerank`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RerankResponse {
    pub id: String,
    pub model: String,
    /// `list`
    pub object: &'static str,
    /// Best first.
    pub results: Vec<RerankResult>,
    pub usage: EmbeddingUsage,
    pub meta: Meta,
}

/// What Cohere's clients read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Meta {
    pub api_version: ApiVersion,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiVersion {
    pub version: &'static str,
}

/// A scored document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RerankResult {
    /// Its place in the request.
    pub index: usize,
    pub relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<ReturnedDocument>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReturnedDocument {
    pub text: String,
}

/// A scored text in text-embeddings-inference's form.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankedText {
    pub index: usize,
    pub score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Body of `POST /v1/score`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ScoreRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// One text, or as many as `text_2`.
    pub text_1: Texts,
    pub text_2: Texts,
}

/// One or more texts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Default for Texts {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// Answer of `POST /v1/score`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreResponse {
    pub id: String,
    /// `list`
    pub object: &'static str,
    /// Unix seconds.
    pub created: i64,
    pub model: String,
    pub data: Vec<Score>,
    pub usage: EmbeddingUsage,
}

/// The score of a pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    pub index: usize,
    /// `score`
    pub object: &'static str,
    pub score: f32,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, or an object with a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Document, E> {
        Ok(Document(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut text = String::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "text" {
                text = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Document(text))
    }
}
