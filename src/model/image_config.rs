//! The config blob, which a manifest's `config` entry names.

use serde::{Deserialize, Serialize};

use crate::chat::null_is_default;

/// Details of a model that are known without reading its weights. Decoding is lenient; the key order is
/// Ollama's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    #[serde(deserialize_with = "null_is_default")]
    pub model_format: String,
    #[serde(deserialize_with = "null_is_default")]
    pub model_family: String,
    pub model_families: Option<Vec<String>>,
    /// Human parameter count (`8.0B`).
    #[serde(deserialize_with = "null_is_default")]
    pub model_type: String,
    /// Quantization (`Q4_K_M`).
    #[serde(deserialize_with = "null_is_default")]
    pub file_type: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub renderer: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub parser: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub requires: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub remote_host: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub remote_model: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub capabilities: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_length: Option<u64>,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub base_name: String,
    #[serde(deserialize_with = "null_is_default")]
    pub architecture: String,
    #[serde(deserialize_with = "null_is_default")]
    pub os: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_configs_are_read() {
        let text = r#"{"model_format":"gguf","model_family":"llama","model_families":null,
            "model_type":"8B","file_type":null,"architecture":"amd64","os":"linux",
            "rootfs":{"type":"layers","diff_ids":["sha256:00"]},"capabilities":null}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(
            (config.model_family.as_str(), config.file_type.as_str()),
            ("llama", "")
        );
        assert_eq!(config.model_families, None);
    }

    #[test]
    fn keys_are_in_ollamas_order() {
        let config = ImageConfig {
            parser: "qwen3".to_owned(),
            ..ImageConfig::default()
        };
        assert_eq!(
            serde_json::to_string(&config).unwrap(),
            r#"{"model_format":"","model_family":"","model_families":null,"model_type":"","file_type":"","parser":"qwen3","architecture":"","os":""}"#
        );
    }
}
