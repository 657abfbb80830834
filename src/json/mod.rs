//! JSON in the spellings that prompts and files need byte by byte.

pub mod go;
mod spell;

pub use spell::{indented, spaced};
