//! llama-server's own routes (<https://github.com/ggml-org/llama.cpp/tree/master/tools/server>). Since drover serves
//! several models, requests name one; without a name the only loaded model is used.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::chat::null_is_default;

/// Answer of `GET /health` and `GET /ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, or `stopping`.
    pub status: &'static str,
}

/// Body of `POST /tokenize`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
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
    /// Parse the texts of special tokens as those tokens; `None` = yes.
    pub parse_special: Option<bool>,
}

/// Answer of `POST /tokenize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenizeResponse {
    pub tokens: Vec<i32>,
    /// vLLM's: the number of tokens.
    pub count: usize,
}

/// Body of `POST /detokenize`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct DetokenizeRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    #[serde(deserialize_with = "null_is_default")]
    pub tokens: Vec<i32>,
}

/// Answer of `POST /detokenize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DetokenizeResponse {
    pub content: String,
    /// vLLM's name for the same.
    pub prompt: String,
}

/// Answer of `POST /apply-template`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TemplateResponse {
    pub prompt: String,
}

/// Body of `POST /infill`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct InfillRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub model: String,
    #[serde(deserialize_with = "null_is_default")]
    pub input_prefix: String,
    #[serde(deserialize_with = "null_is_default")]
    pub input_suffix: String,
    /// Text that is already written after the prefix.
    #[serde(deserialize_with = "null_is_default")]
    pub prompt: String,
    /// Other files of the project, which come before the prefix.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(default)]
    pub input_extra: Vec<ExtraFile>,
    #[serde(deserialize_with = "null_is_default")]
    pub stream: bool,
    /// Negative = no limit.
    pub n_predict: Option<i64>,
    pub temperature: Option<f64>,
    pub top_k: Option<i64>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub seed: Option<i64>,
    #[serde(deserialize_with = "null_is_default")]
    pub stop: Vec<String>,
}

/// Another file of the project.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct ExtraFile {
    #[serde(deserialize_with = "null_is_default")]
    pub filename: String,
    #[serde(deserialize_with = "null_is_default")]
    pub text: String,
}

/// Answer of `POST /infill`, or an event of its stream; counters come with the last one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct InfillResponse {
    pub content: String,
    pub stop: bool,
    pub model: String,
    /// `none` while the answer goes on, then `eos`, `limit` or `word`.
    pub stop_type: &'static str,
    pub stopping_word: String,
    pub tokens_predicted: u64,
    /// Prompt tokens, including cached ones.
    pub tokens_evaluated: u64,
    pub tokens_cached: u64,
    pub truncated: bool,
}

/// Answer of `GET /props`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Props {
    pub default_generation_settings: GenerationSettings,
    pub total_slots: u32,
    /// The model's name; the path of its file is not disclosed.
    pub model_path: String,
    pub model_alias: String,
    pub chat_template: String,
    pub modalities: Modalities,
    pub build_info: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct GenerationSettings {
    /// Context of a request that sets none, in tokens.
    pub n_ctx: u32,
}

/// What a model accepts besides text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Modalities {
    pub vision: bool,
    pub audio: bool,
}

/// An entry of `GET /slots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Slot {
    /// Its index among the slots of its model.
    pub id: u32,
    pub model: String,
    pub n_ctx: u32,
    /// True in as many entries as requests are running; which slots run them is not reported.
    pub is_processing: bool,
}
