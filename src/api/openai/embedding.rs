//! `/v1/embeddings`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::chat::null_is_default;

/// Body of `POST /v1/embeddings`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct EmbeddingRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// A string, tokens, or an array of either.
    pub input: Value,
    /// `float` or `base64`.
    #[serde(deserialize_with = "null_is_default")]
    pub encoding_format: String,
    /// 0 = all.
    #[serde(deserialize_with = "null_is_default")]
    pub dimensions: i64,
}

/// Answer of `POST /v1/embeddings`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EmbeddingResponse {
    /// `list`
    pub object: &'static str,
    pub data: Vec<EmbeddingItem>,
    pub model: String,
    pub usage: EmbeddingUsage,
}

/// The vector of one input.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EmbeddingItem {
    /// `embedding`
    pub object: &'static str,
    pub embedding: Embedding,
    pub index: usize,
}

/// A vector in the requested encoding.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Embedding {
    Floats(Vec<f32>),
    /// Padded base64 of the values as little-endian float32.
    Base64(String),
}

/// Both counters are the sum of the tokens of all inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct EmbeddingUsage {
    pub prompt_tokens: u64,
    pub total_tokens: u64,
}
