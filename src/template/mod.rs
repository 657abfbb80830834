//! Go's template language, as the templates inside Ollama's models use it.
//!
//! A text is compiled once ([`Template::parse`]) and rendered over a [`Value`] as often as needed.
//! Messages are Go's, word for word where its own tests have them.
//! *Invariant:* templates come from strangers. Whatever they say, parsing and rendering end: steps,
//! depth and bytes have limits, and a template reaches nothing but its value and today's date.

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

/// The longest text, in bytes; the longest of known models has 20,000.
pub const MAX_SOURCE: usize = 256 << 10;
/// Words and signs of a text: each becomes some 200 bytes. Those of known models have 2,000.
const MAX_TOKENS: usize = 32_768;
/// Variables that can be seen at one place: each use looks through them.
const MAX_VARIABLES: usize = 500;
/// How deep parentheses, branches and bodies may lie in each other; also the length of `else if`.
const MAX_NESTING: usize = 150;
/// How deep nodes, parentheses and calls of templates may lie in each other while rendering.
const MAX_DEPTH: usize = 400;
/// Nodes and operands that one rendering may evaluate.
const MAX_STEPS: usize = 10_000_000;
/// The longest result, and the most that functions may produce on the way there.
const MAX_BYTES: usize = 64 << 20;

/// A compiled template.
#[derive(Debug, Clone)]
pub struct Template {
    /// Kept for the places in messages.
    source: String,
    bodies: parser::Bodies,
}

/// Why a text is no template.
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

    /// Renders over a value, the template's dot.
    ///
    /// Long conversations take a while: not for the async runtime's own threads.
    pub fn render(&self, value: &Value) -> Result<String, ExecError> {
        let bytes = eval::render(self, value)?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }
}
