//! Errors of transfers, in Ollama's words where clients depend on them.

use std::path::Path;
use std::sync::Arc;

use super::reach::OutOfReach;
use crate::model::Digest;
use crate::store::StoreError;

/// Why a transfer failed. Cheap to clone: every request that waits for a blob gets it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    #[error("file does not exist")]
    NotFound,
    #[error("unauthorized: access denied")]
    Unauthorized,
    /// The registry's status, with its reason if there is one and the client may see it.
    #[error("{status}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Status { status: u16, reason: String },
    /// The daemon may not connect there.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Transport(String),
    /// The registry's response is not valid.
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
    /// Whether a retry could help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 425 | 429),
            _ => false,
        }
    }

    /// Whether another registry could succeed, since the error is not about this machine.
    pub(super) fn is_the_registrys(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Key(_))
    }

    /// Adds the public key to an error about missing access.
    pub(super) fn with_key(self, private: &Path) -> Self {
        match self {
            Self::Status {
                status: status @ (401 | 403),
                reason,
            } => {
                let key = private.with_extension("pub");
                let asked = format!("(asked with the key {})", key.display());
                let reason = if reason.is_empty() {
                    asked
                } else {
                    format!("{reason} {asked}")
                };
                Self::Status { status, reason }
            }
            other => other,
        }
    }

    /// Whether the daemon refused to connect.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Context { source, .. } | Self::Exhausted(source) => source.is_refused(),
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
        let host = error
            .url()
            .and_then(|url| url.host_str())
            .unwrap_or_default();
        // The innermost cause says what happened; the outer messages only say where.
        let mut cause: &(dyn std::error::Error + 'static) = &error;
        loop {
            if let Some(refused) = cause.downcast_ref::<OutOfReach>() {
                return Self::Refused(refused.to_string());
            }
            if is_no_tls(cause) {
                return Self::Malformed(format!(
                    "{host} does not answer by TLS: if this registry speaks plain HTTP, say so \
                     with `--insecure` (`\"insecure\": true` in the API)"
                ));
            }
            match cause.source() {
                Some(inner) => cause = inner,
                None => break,
            }
        }
        let text = cause.to_string();
        if error.is_builder() {
            return Self::Malformed(format!("no address of a registry: {text}"));
        }
        match host {
            "" => Self::Transport(text),
            host => Self::Transport(format!("{host}: {text}")),
        }
    }
}

/// Whether the error says that the other side does not use TLS.
fn is_no_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    use rustls::{Error, InvalidMessage};
    let mut error = error;
    // `io::Error::source` skips the error inside it, so take that one first.
    while let Some(inner) = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
    {
        error = inner;
    }
    matches!(
        error.downcast_ref(),
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType))
    )
}
