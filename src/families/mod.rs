//! Everything drover knows about individual model families, one folder each.
//!
//! A folder's `mod.rs` declares the [`Family`]: its renderers and parsers by name, and its GGUF architectures with
//! their quirks. [`registry`] lists the families and answers questions about all of them; no other module names a
//! family (`tests/tidy.rs` checks this). `docs/families.md` explains how to add one.

pub mod capabilities;
mod family;
pub mod layout;
mod registry;
mod shared;
#[cfg(test)]
mod tests;

mod bert;
mod clip;
mod cogito;
mod cohere;
mod deepseek;
mod functiongemma;
mod gemma;
mod gemma4;
mod glimmer;
mod glm;
pub mod gptoss;
mod laguna;
mod lfm2;
mod llama;
mod mistral;
mod nemotron;
mod olmo;
mod others;
mod qwen;

pub use family::{
    Architecture, BuiltinParser, BuiltinRenderer, Family, Format, Marks, TemplateFormat, TensorRule,
};
pub use registry::{
    architecture, forgets_reasoning, min_image_tokens, parser, parser_for_jinja,
    parser_for_template, parsers, refusal, renderer, renderers, resolve_renderer, window_period,
};
pub use shared::call::typed_value;
