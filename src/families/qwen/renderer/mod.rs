//! Prompts of Qwen 3's generations.

pub(super) mod coder;
pub(super) mod qwen35;
pub(super) mod vl;
