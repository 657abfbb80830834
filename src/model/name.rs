//! `[scheme://][host/][namespace/]model[:tag]` (store specification §1).

// STUB (owner: model/store helper): full implementation, validation, case folding, Display.

/// A valid, fully qualified model name; the scheme is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName {
    pub host: String,
    pub namespace: String,
    pub model: String,
    pub tag: String,
}

/// The text is no valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid model name")]
pub struct InvalidName;

/// Where a request wants its model to run (`:cloud`, `-cloud`, `:local` suffixes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Unspecified,
    Local,
    Cloud,
}

impl ModelName {
    /// Parses a name and fills in the defaults.
    ///
    /// # Errors
    /// Fails when a part is missing, too long or has a forbidden character.
    pub fn parse(_text: &str) -> Result<Self, InvalidName> {
        todo!()
    }

    /// Splits the source suffix off a raw request string (trimmed); the rest is for [`Self::parse`].
    ///
    /// # Errors
    /// Returns Ollama's text for two suffixes in a row: `use either :local or :cloud, not both: "…"`.
    pub fn split_source(_text: &str) -> Result<(String, Source), String> {
        todo!()
    }

    /// Returns the shortest display form: defaults of host and namespace dropped, tag always there.
    pub fn short(&self) -> String {
        todo!()
    }

    /// Whether both names are equal, ASCII case ignored.
    pub fn eq_ignore_case(&self, _other: &Self) -> bool {
        todo!()
    }
}

/// Prints the full form `host/namespace/model:tag`.
impl std::fmt::Display for ModelName {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
