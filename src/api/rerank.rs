//! Reranking in the formats of Jina, Cohere and Hugging Face's text-embeddings-inference, and vLLM's scores.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::document::Document;
use super::openai::EmbeddingUsage;
use crate::chat::null_is_default;

/// Body of `POST /v1/rerank` and its other paths.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct RerankRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    #[schema(default)]
    pub query: Option<Document>,
    /// Texts, or objects with a text.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(default)]
    pub documents: Vec<Document>,
    /// Text-embeddings-inference's name for `documents`; the answer then has its format.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(default)]
    pub texts: Vec<Document>,
    /// How many of the best results are returned; `None` = all.
    pub top_n: Option<i64>,
    #[serde(deserialize_with = "null_is_default")]
    pub return_documents: bool,
    /// Text-embeddings-inference's name for `return_documents`.
    #[serde(deserialize_with = "null_is_default")]
    pub return_text: bool,
}

/// Answer of `POST /v1/rerank`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Meta {
    pub api_version: ApiVersion,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ApiVersion {
    pub version: &'static str,
}

/// A scored document.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RerankResult {
    /// Its index in the request.
    pub index: usize,
    pub relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<ReturnedDocument>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReturnedDocument {
    pub text: String,
}

/// A scored text in text-embeddings-inference's format.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RankedText {
    pub index: usize,
    pub score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Body of `POST /v1/score`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct ScoreRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// One text, or as many as `text_2`.
    #[schema(default)]
    pub text_1: Texts,
    #[schema(default)]
    pub text_2: Texts,
}

/// One or more texts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Score {
    pub index: usize,
    /// `score`
    pub object: &'static str,
    pub score: f32,
}
