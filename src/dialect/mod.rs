//! The dialects: api types ↔ inference types, by plain functions. No I/O, no HTTP.

pub mod ollama;
pub mod openai;
