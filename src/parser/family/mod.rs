//! The built-in parsers by name (`PARSER` of a Modelfile, `parser` of a model's config).

use super::{Parser, Passthrough, Start};

/// A built-in parser and what it can do.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    /// Whether it reads tool calls.
    pub tools: bool,
    /// Whether it separates thinking.
    pub thinking: bool,
    /// Special tokens that must reach it as text.
    pub preserved: &'static [&'static str],
    /// Makes the parser of one answer.
    pub new: fn(&Start<'_>) -> Box<dyn Parser>,
}

/// One line for each name.
static TABLE: &[Entry] = &[Entry {
    name: "passthrough",
    tools: false,
    thinking: false,
    preserved: &[],
    new: |_| Box::new(Passthrough),
}];

/// Returns the parser of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}
