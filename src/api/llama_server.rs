//! Routes of llama-server's own (<https://github.com/ggml-org/llama.cpp/tree/master/tools/server>). Since drover
//! serves several models, requests name one; without a name the only loaded model is meant.

use serde::{Deserialize, Serialize};

use crate::chat::null_is_default;

/// Body of `POST /tokenize`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TokenizeRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    #[serde(deserialize_with = "null_is_default")]
    pub content: String,
    /// vLLM's name for `content`.
    #[serde(deserialize_with = "null_is_default")]
    pub prompt: String,
    /// Add BOS/EOS as the vocabulary says. `None` = no; vLLM's default, with `prompt`, is yes.
    pub add_special: Option<bool>,
    /// vLLM's name for `add_special`.
    pub add_special_tokens: Option<bool>,
    /// Read the texts of special tokens as those tokens; `None` = yes.
    pub parse_special: Option<bool>,
}

/// Answer of `POST /tokenize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenizeResponse {
    pub tokens: Vec<i32>,
    /// vLLM's; how many there are.
    pub count: usize,
}

/// Body of `POST /detokenize`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DetokenizeRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    #[serde(deserialize_with = "null_is_default")]
    pub tokens: Vec<i32>,
}

/// Answer of `POST /detokenize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DetokenizeResponse {
    pub content: String,
    /// vLLM's name for the same.
    pub prompt: String,
}

/// Answer of `POST /apply-template`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TemplateResponse {
    pub prompt: String,
}
