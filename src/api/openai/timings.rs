//! llama-server's `timings`, besides `usage`.

use serde::Serialize;
use utoipa::ToSchema;

/// The duration of an answer. Times are in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Timings {
    /// Tokens of the prompt that came from the prefix cache.
    pub cache_n: u64,
    /// Tokens of the prompt that were evaluated.
    pub prompt_n: u64,
    pub prompt_ms: f64,
    pub prompt_per_token_ms: f64,
    pub prompt_per_second: f64,
    /// Tokens of the answer.
    pub predicted_n: u64,
    pub predicted_ms: f64,
    pub predicted_per_token_ms: f64,
    pub predicted_per_second: f64,
}
