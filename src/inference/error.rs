//! Errors as the use cases make them.

pub(super) use crate::error::{ErrorKind, RequestError};

/// The request makes no sense.
pub(super) fn invalid(message: impl Into<String>) -> RequestError {
    RequestError::invalid(message)
}

/// A mistake of the client for which Ollama says 500.
pub(super) fn mistaken(message: impl Into<String>) -> RequestError {
    RequestError::new(ErrorKind::Mistaken, message)
}

/// The request may be right, but the model or drover is not.
pub(super) fn internal(message: impl Into<String>) -> RequestError {
    RequestError::internal(message)
}
