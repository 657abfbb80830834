//! The dialects: api types ↔ inference types, by plain functions over types.
//!
//! *Invariant:* nothing here does I/O, reads a clock or draws a random number.

pub mod ollama;
pub mod openai;
mod status;
