//! What can go wrong between us and a registry, in Ollama's words where clients know them.

use std::path::Path;
use std::sync::Arc;

use super::reach::OutOfReach;
use crate::model::Digest;
use crate::store::StoreError;

/// Why a transfer failed. Cheap to clone: all who wait for a blob hear of it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    #[error("file does not exist")]
    NotFound,
    #[error("unauthorized: access denied")]
    Unauthorized,
    /// The registry's status, and its reason where it gives one to somebody who may hear it.
    #[error("{status}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Status { status: u16, reason: String },
    /// It is not for the daemon to go there.
    #[error("{0}")]
    Refused(String),
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

    /// Whether another registry could do better: it is not about this machine.
    pub(super) fn is_the_registrys(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Key(_))
    }

    /// Names the key to whoever is refused for it.
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

    /// Whether somebody was kept from going where the daemon may not.
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
        // The innermost cause says what happened, the sentences around it only where.
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

/// Whether this says that the other side sent something else than TLS.
fn is_no_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    use rustls::{Error, InvalidMessage};
    let mut error = error;
    // An I/O error's source is that of what it holds, which itself is reached only so.
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
