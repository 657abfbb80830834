//! Errors of requests, before a dialect turns them into responses.

use std::borrow::Cow;

/// The error of every use case. Each dialect maps it to a status and a body, both for whole responses and
/// for lines of a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    pub kind: ErrorKind,
    /// The full text, for the log; clients get it without this machine's paths.
    pub message: String,
    /// The field of the request that caused the error.
    pub param: Option<Cow<'static, str>>,
    /// A machine-readable code.
    pub code: Option<&'static str>,
    /// Seconds after which a retry may help.
    pub retry_after: Option<u64>,
}

/// The cause of the error, and what the client can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is not valid.
    Invalid,
    /// The request is not valid, but Ollama answers 500. (Clients of other APIs would retry on a 500.)
    Mistaken,
    /// The request is not authenticated.
    Unauthorized,
    /// The server does not allow this, or not for this client.
    Forbidden,
    NotFound,
    MethodNotAllowed,
    /// The object that the request names is in the wrong state.
    Conflict,
    /// The request did not arrive in time.
    Timeout,
    TooLarge,
    /// The client went away, or the model was unloaded.
    Canceled,
    /// The model or drover failed.
    Internal,
    /// The model or this build of drover does not support it.
    Unsupported,
    /// The request's own deadline has passed.
    DeadlineExceeded,
    /// Try again later.
    Overloaded,
    /// The key's limits are exhausted.
    RateLimited,
}

impl RequestError {
    /// Returns an error without a field and a code.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            param: None,
            code: None,
            retry_after: None,
        }
    }

    /// The request is not valid.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// What the request names does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The model or drover failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Sets after how many seconds a retry may help.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Sets the field of the request that caused the error, and the code.
    #[must_use]
    pub fn about(mut self, param: impl Into<Cow<'static, str>>, code: &'static str) -> Self {
        self.param = Some(param.into());
        self.code = Some(code);
        self
    }

    /// Sets the code of an error that is not caused by a field of the request.
    #[must_use]
    pub fn coded(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }
}
