//! Wire types only: serde derives, no logic. One file per endpoint group.

pub mod anthropic;
mod document;
pub mod drover;
pub mod keys;
pub mod llama_server;
pub mod named;
pub mod ollama;
pub mod openai;
pub mod rerank;
pub mod system_one;
