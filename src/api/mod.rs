//! Wire types only: serde derives, no logic. One file per endpoint group.

pub mod anthropic;
pub mod ollama;
pub mod openai;
