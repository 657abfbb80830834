//! What a model can do.

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
    const ALL: [Self; 8] = [
        Self::Completion,
        Self::Tools,
        Self::Insert,
        Self::Vision,
        Self::Embedding,
        Self::Thinking,
        Self::Image,
        Self::Audio,
    ];

    /// Reads the word on the wire.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|capability| capability.as_str() == word)
    }

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

/// The capabilities that the text of a Jinja chat template implies.
pub fn of_jinja(template: &str) -> Vec<Capability> {
    let has = |word: &str| template.contains(word);
    let mut found = Vec::new();
    if has("tools") || has("tool_call") {
        found.push(Capability::Tools);
    }
    let tags = has("<think>") && has("</think>");
    let splits = has("split('</think>')") || has("split(\"</think>\")");
    if tags || (splits && !has("reasoning_content") && !has("<SPECIAL_12>")) {
        found.push(Capability::Thinking);
    }
    found
}
