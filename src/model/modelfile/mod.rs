//! Modelfiles: lexer, parser, printer.
//!
//! Paths are kept as written; callers that have a file system resolve them.

mod lexer;
mod parameters;
mod parse;
mod print;
mod show;
#[cfg(test)]
mod tests;

pub use parameters::Parameters;
pub use show::{Shown, parameters_text};

/// A parsed Modelfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modelfile {
    /// In file order.
    pub commands: Vec<Command>,
}

/// One instruction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Lower-case instruction name (`from`, `parameter`, …).
    pub name: String,
    /// For `parameter`: `<name>`; for `message`: the role; else empty.
    pub key: String,
    pub value: String,
    /// 1-based line in the source.
    pub line: usize,
}

/// The text is not a valid Modelfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelfileError {
    #[error("{0}")]
    Syntax(String),
    /// The text ends inside the instruction that begins on this line (1-based); Ollama's message has no
    /// line.
    #[error("{text}")]
    Unfinished { line: usize, text: String },
}

impl ModelfileError {
    /// The message, with the line even where Ollama's message has none.
    pub fn with_line(&self) -> String {
        match self {
            Self::Syntax(text) => text.clone(),
            Self::Unfinished { line, text } => format!("(line {line}): {text}"),
        }
    }
}

/// All instructions, lower case.
pub const INSTRUCTIONS: [&str; 11] = [
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "draft",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
];

/// Roles that `MESSAGE` accepts.
pub const ROLES: [&str; 3] = ["system", "user", "assistant"];

impl Modelfile {
    /// Parses a Modelfile.
    ///
    /// # Errors
    /// Returns Ollama's texts (no FROM line, unknown instruction, bad role …).
    pub fn parse(text: &str) -> Result<Self, ModelfileError> {
        parse::parse(text)
    }

    /// Parses the bytes of a file: UTF-8, or UTF-16 with a byte order mark.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ModelfileError> {
        let units = |to_unit: fn([u8; 2]) -> u16| -> String {
            let units: Vec<u16> = bytes[2..]
                .chunks_exact(2)
                .map(|pair| to_unit([pair[0], pair[1]]))
                .collect();
            String::from_utf16_lossy(&units)
        };
        match bytes {
            [0xfe, 0xff, ..] => Self::parse(&units(u16::from_be_bytes)),
            [0xff, 0xfe, ..] => Self::parse(&units(u16::from_le_bytes)),
            _ => Self::parse(&String::from_utf8_lossy(bytes)),
        }
    }

    /// Returns the values of all instructions of that lower-case name, in file order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.commands
            .iter()
            .filter(move |command| command.name == name)
            .map(|command| command.value.as_str())
    }

    /// Returns the last value of an instruction: where it may be repeated, the last one wins.
    pub fn last(&self, name: &str) -> Option<&str> {
        self.values(name).last()
    }
}

impl Command {
    /// Makes an instruction without a key and a line.
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            value: value.into(),
            ..Self::default()
        }
    }

    /// Makes an instruction with a key (`parameter`) or a role (`message`).
    pub fn keyed(name: &str, key: &str, value: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            key: key.to_owned(),
            value: value.into(),
            line: 0,
        }
    }
}
