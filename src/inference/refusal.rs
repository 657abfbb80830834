//! The errors that clients get when the engine refuses a request or fails.

use super::error::{ErrorKind as Kind, RequestError, internal, invalid};
use crate::protocol::FailureKind;
use crate::runner_client::RunnerError;

/// Why an answer could not start.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The process died before anything was streamed; a new one may succeed.
    Gone(RequestError),
    Final(RequestError),
}

impl From<RunnerError> for Refusal {
    fn from(error: RunnerError) -> Self {
        let gone = matches!(error, RunnerError::Gone(_));
        let error = engine_error(&error);
        if gone {
            Self::Gone(error)
        } else {
            Self::Final(error)
        }
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::Final(error)
    }
}

impl Refusal {
    /// Whether to retry with a new runner, because the old one died before it had streamed anything.
    ///
    /// # Errors
    /// The error for the client, if a new runner would not help.
    pub(super) fn second_chance(self) -> Result<(), RequestError> {
        match self {
            Self::Final(error) => Err(error),
            Self::Gone(error) => {
                tracing::warn!(%error, "the request is tried again on a new runner");
                Ok(())
            }
        }
    }

    /// The error for the client.
    pub(super) fn into_error(self) -> RequestError {
        match self {
            Self::Gone(error) | Self::Final(error) => error,
        }
    }
}

/// An error of the engine before the stream exists.
pub(super) fn engine_error(error: &RunnerError) -> RequestError {
    match error.kind() {
        FailureKind::Invalid => invalid(error.to_string()),
        FailureKind::ContextExceeded => longer(error.to_string()),
        FailureKind::Unsupported => RequestError::new(Kind::Unsupported, error.to_string()),
        FailureKind::Overloaded => RequestError::new(Kind::Overloaded, error.to_string()),
        FailureKind::Internal => internal(error.to_string()),
    }
}

/// The prompt is too long; OpenAI's clients check the code.
pub(super) fn longer(message: impl Into<String>) -> RequestError {
    RequestError {
        code: Some("context_length_exceeded"),
        ..invalid(message)
    }
}

/// An error of the engine in the middle of a stream.
pub(super) fn broken(error: &RunnerError) -> RequestError {
    if error.kind() == FailureKind::Invalid {
        return invalid(error.to_string());
    }
    internal(format!(
        "an error was encountered while running the model: {error}"
    ))
}
