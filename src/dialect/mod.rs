//! The dialects: pure functions between the types of an API and those of `inference`.
//!
//! *Invariant:* nothing here does I/O, reads a clock or draws a random number.

pub mod anthropic;
mod called;
pub mod llama_server;
pub mod ollama;
pub mod openai;
pub mod rerank;
mod status;
pub mod system_one;
