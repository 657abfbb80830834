//! Why a request failed, before a dialect has spelled it.

use std::borrow::Cow;

/// The error of every use case. Dialects make a status and a body of it, for answers and for lines of
/// streams alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    pub kind: ErrorKind,
    /// In full, for the log; clients read it without this machine's paths.
    pub message: String,
    /// The field of the request that is to blame.
    pub param: Option<Cow<'static, str>>,
    /// What is wrong, for programs.
    pub code: Option<&'static str>,
}

/// Who is to blame, and what the client can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request makes no sense.
    Invalid,
    /// The same, where Ollama says 500 all the same. (Clients of other APIs would send the request again.)
    Mistaken,
    /// Nobody is signed in.
    Unauthorized,
    /// The server does not do this, or not for this client.
    Forbidden,
    NotFound,
    MethodNotAllowed,
    /// The request did not arrive in time.
    Timeout,
    TooLarge,
    /// The client went away, or the model was unloaded.
    Canceled,
    /// The model, or drover.
    Internal,
    /// The model or this build of drover cannot do it.
    Unsupported,
    /// Try again later.
    Overloaded,
}

impl RequestError {
    /// Returns an error without a field and a code.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            param: None,
            code: None,
        }
    }

    /// The request makes no sense.
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

    /// Says which field of the request is to blame, and why.
    #[must_use]
    pub fn about(mut self, param: impl Into<Cow<'static, str>>, code: &'static str) -> Self {
        self.param = Some(param.into());
        self.code = Some(code);
        self
    }

    /// Says for programs what is wrong, where no field of the request is.
    #[must_use]
    pub fn coded(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }
}
