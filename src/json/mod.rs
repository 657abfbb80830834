//! JSON in the spellings that prompts and files need byte by byte, and what can be said of it before it
//! is decoded.

pub mod deep;
pub mod go;
pub mod scan;
mod spell;

pub use spell::{indented, spaced};

/// The name of a newtype that is a text in base64: whoever decodes it takes it as a file, not as text.
pub const BASE64: &str = "Base64";

/// The name of a newtype that is a text of JSON: it becomes a tree.
pub const NESTED: &str = "NestedJson";
