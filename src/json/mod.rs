//! JSON in the exact formats that prompts and files need, and checks on JSON text before it is decoded.

pub mod deep;
pub mod go;
pub mod scan;
mod spell;

pub use spell::{indented, spaced};

/// Name of a newtype that holds base64 text: the decoder takes it as a file, not as text.
pub const BASE64: &str = "Base64";

/// Name of a newtype that holds JSON as text: the decoder parses it into a tree.
pub const NESTED: &str = "NestedJson";
