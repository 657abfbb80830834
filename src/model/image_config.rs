//! The config blob (store specification §3.3).

use serde::{Deserialize, Serialize};

/// Details of a model that need no look into its weights. Read leniently; key order is Ollama's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    pub model_format: String,
    pub model_family: String,
    pub model_families: Option<Vec<String>>,
    /// Human parameter count (`8.0B`).
    pub model_type: String,
    /// Quantization (`Q4_K_M`).
    pub file_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub renderer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub parser: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub requires: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_host: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_model: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_length: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub base_name: String,
    pub architecture: String,
    pub os: String,
}
