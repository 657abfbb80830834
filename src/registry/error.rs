//! What can go wrong between us and a registry, in Ollama's words where clients know them.

use std::sync::Arc;

use crate::model::Digest;
use crate::store::StoreError;

/// Why a transfer failed. Cheap to clone: all who wait for a blob hear of it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    #[error("file does not exist")]
    NotFound,
    #[error("unauthorized: access denied")]
    Unauthorized,
    /// The registry's status and what it says.
    #[error("{status}: {body}")]
    Status { status: u16, body: String },
    #[error("{0}")]
    Transport(String),
    /// The registry's answer makes no sense.
    #[error("{0}")]
    Malformed(String),
    #[error("digest mismatch, file must be downloaded again: want {want}, got {got}")]
    Mismatch { want: Digest, got: Digest },
    #[error("max retries exceeded: {0}")]
    Exhausted(Box<Self>),
    #[error("{context}: {source}")]
    Context {
        context: &'static str,
        source: Box<Self>,
    },
    #[error("{0}")]
    Key(String),
    #[error(transparent)]
    Store(Arc<StoreError>),
}

impl RegistryError {
    /// Whether trying again could help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 425 | 429),
            _ => false,
        }
    }

    pub(super) fn context(self, context: &'static str) -> Self {
        Self::Context {
            context,
            source: Box::new(self),
        }
    }
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<std::io::Error> for RegistryError {
    fn from(error: std::io::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<reqwest::Error> for RegistryError {
    fn from(error: reqwest::Error) -> Self {
        // The innermost cause says what happened, the sentences around it only where.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let text = cause.to_string();
        match error.url().and_then(|url| url.host_str()) {
            Some(host) => Self::Transport(format!("{host}: {text}")),
            None => Self::Transport(text),
        }
    }
}
