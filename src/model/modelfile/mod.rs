//! Modelfiles: lexer, parser, printer (store specification §10).

// STUB (owner: model/store helper)

/// A parsed Modelfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modelfile {
    /// In file order.
    pub commands: Vec<Command>,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Lower-case instruction name (`from`, `parameter`, …).
    pub name: String,
    /// For `parameter`: `<name>`; for `message`: the role; else empty.
    pub key: String,
    pub value: String,
    /// 1-based line in the source.
    pub line: usize,
}

/// The text is no Modelfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelfileError {
    #[error("{0}")]
    Syntax(String),
}

impl Modelfile {
    /// Parses a Modelfile.
    ///
    /// # Errors
    /// Returns Ollama's texts (no FROM line, unknown instruction, bad role …).
    pub fn parse(_text: &str) -> Result<Self, ModelfileError> {
        todo!()
    }
}
