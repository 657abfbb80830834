//! The fields that all events of one answer share.

use jiff::Timestamp;

/// The `system_fingerprint` of every answer; Ollama's clients may check it.
pub(super) const FINGERPRINT: &str = "fp_ollama";

/// Length of the random part of an id, as in OpenAI's ids.
const ID_LENGTH: usize = 29;

/// The identity of an answer, which is the same in all its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// The model's name as the client sent it.
    pub model: String,
}

impl Head {
    /// Makes a head with a new id: `prefix`, then random letters and digits.
    pub fn new(prefix: &str, model: &str, now: Timestamp, rng: &mut fastrand::Rng) -> Self {
        let random = std::iter::repeat_with(|| rng.alphanumeric()).take(ID_LENGTH);
        Self {
            id: prefix.chars().chain(random).collect(),
            created: now.as_second(),
            model: model.to_owned(),
        }
    }
}
