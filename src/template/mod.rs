//! Go's template language, as the templates inside Ollama's models use it.
//!
//! A text is compiled once ([`Template::parse`]) and rendered over a [`Value`] as often as needed. Error
//! messages are Go's, word for word where Go's own tests check them. *Invariant:* templates are untrusted.
//! Parsing and rendering always end: steps, depth and bytes have limits, and a template can reach nothing
//! but its value and today's date.

mod analysis;
mod ast;
mod compare;
mod escape;
mod eval;
mod format;
mod funcs;
mod json;
mod lexer;
mod number;
mod parser;
mod pipeline;
mod printf;
#[cfg(test)]
mod tests;
mod value;

pub use value::{Content, List, Typed, Value};

/// A number as Go prints it without a verb: `5`, `1e+06`.
pub fn float_text(value: f64) -> String {
    number::general(value, None)
}

/// A text as Go's `strconv.Quote` writes it.
pub fn quote(text: &str) -> String {
    escape::quote(text.as_bytes(), false)
}

/// The longest source text, in bytes; the longest of known models has 20,000.
pub const MAX_SOURCE: usize = 256 << 10;
/// The most tokens; each takes some 200 bytes. Templates of known models have up to 2,000.
const MAX_TOKENS: usize = 32_768;
/// The most variables in scope at one place: each use searches them linearly.
const MAX_VARIABLES: usize = 500;
/// How deeply parentheses, branches and bodies may nest; also the length of an `else if` chain.
const MAX_NESTING: usize = 150;
/// How deeply nodes, parentheses and template calls may nest while rendering.
const MAX_DEPTH: usize = 400;
/// Nodes and operands that one rendering may evaluate.
const MAX_STEPS: usize = 10_000_000;
/// The most bytes of the result, and of all intermediate values.
const MAX_BYTES: usize = 64 << 20;

/// A compiled template.
#[derive(Debug, Clone)]
pub struct Template {
    /// Kept for the positions in messages.
    source: String,
    bodies: parser::Bodies,
}

/// Why a text is not a valid template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: :{line}: {message}")]
pub struct ParseError {
    /// Counted from one.
    pub line: usize,
    pub message: String,
}

/// Why a template cannot be rendered over a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: :{line}:{column}: executing {name:?} at <{context}>: {message}")]
pub struct ExecError {
    /// Counted from one.
    pub line: usize,
    /// In bytes, counted from zero.
    pub column: usize,
    /// Of the template that was being executed; the main one has an empty name.
    pub name: String,
    /// The part of the source that failed.
    pub context: String,
    pub message: String,
}

impl Template {
    /// Compiles a text.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Ok(Self {
            bodies: parser::parse(text)?,
            source: text.to_owned(),
        })
    }

    /// Renders the template with `value` as its dot.
    ///
    /// Long conversations take a while: do not call it on the async runtime's threads.
    pub fn render(&self, value: &Value) -> Result<String, ExecError> {
        let bytes = eval::render(self, value)?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }
}
