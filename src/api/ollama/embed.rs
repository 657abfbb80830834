//! `/api/embed` and the legacy `/api/embeddings`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::chat::null_is_default;

/// Body of `POST /api/embed`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EmbedRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    /// A string or an array of strings.
    pub input: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncate: Option<bool>,
    #[serde(deserialize_with = "null_is_default")]
    pub dimensions: i64,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub keep_alive: Value,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub options: Map<String, Value>,
}

/// Answer of `POST /api/embed`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EmbedResponse {
    pub model: String,
    pub embeddings: Vec<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_eval_count: Option<u64>,
}

/// Body of `POST /api/embeddings`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EmbeddingsRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    #[serde(deserialize_with = "null_is_default")]
    pub prompt: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub keep_alive: Value,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub options: Map<String, Value>,
}

/// Answer of `POST /api/embeddings`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EmbeddingsResponse {
    pub embedding: Vec<f64>,
}
