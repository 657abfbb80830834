//! Constructors of the use cases' errors.

pub(super) use crate::error::{ErrorKind, RequestError};

/// The request is not valid.
pub(super) fn invalid(message: impl Into<String>) -> RequestError {
    RequestError::invalid(message)
}

/// The request is not valid, but Ollama answers 500.
pub(super) fn mistaken(message: impl Into<String>) -> RequestError {
    RequestError::new(ErrorKind::Mistaken, message)
}

/// The model or drover failed.
pub(super) fn internal(message: impl Into<String>) -> RequestError {
    RequestError::internal(message)
}
