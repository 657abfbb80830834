//! What a model can do (API specification §9.4, store specification §4.3).

// STUB (owner: model/store helper)

/// One capability, in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capability {
    Completion,
    Tools,
    Insert,
    Vision,
    Embedding,
    Thinking,
    Image,
    Audio,
}

impl Capability {
    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completion => "completion",
            Self::Tools => "tools",
            Self::Insert => "insert",
            Self::Vision => "vision",
            Self::Embedding => "embedding",
            Self::Thinking => "thinking",
            Self::Image => "image",
            Self::Audio => "audio",
        }
    }
}

/// What capabilities are derived from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    /// `capabilities` of the config.
    pub config: &'a [String],
    /// The weights' metadata, if they could be read.
    pub gguf: Option<&'a super::gguf::Metadata>,
    /// The first projector's metadata.
    pub projector: Option<&'a super::gguf::Metadata>,
    /// There is a projector layer.
    pub has_projector: bool,
    /// Family from the config.
    pub family: &'a str,
    /// The template in use is the GGUF's Jinja template (`tokenizer.chat_template`).
    pub uses_jinja: bool,
}

/// Derives the capabilities, without duplicates.
pub fn detect(_sources: &Sources<'_>) -> Vec<Capability> {
    todo!()
}
