//! The error of the use cases. Dialects spell it.

use std::borrow::Cow;

/// Why a request failed; the message is what the client reads.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct InferenceError {
    pub kind: InferenceErrorKind,
    pub message: String,
    /// The field of the request that is to blame, for routes that say so.
    pub param: Option<Cow<'static, str>>,
    /// What is wrong with it, for programs.
    pub code: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InferenceErrorKind {
    /// 400
    Invalid,
    /// 500 on Ollama's routes, as there, though the request is to blame; 400 on others, whose clients
    /// would send it again.
    Mistaken,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 499
    Canceled,
    /// 500
    Internal,
    /// 501
    Unsupported,
    /// 503
    Overloaded,
}

impl InferenceError {
    pub fn new(kind: InferenceErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            param: None,
            code: None,
        }
    }

    /// Says which field is to blame, and why.
    #[must_use]
    pub fn about(mut self, param: impl Into<Cow<'static, str>>, code: &'static str) -> Self {
        self.param = Some(param.into());
        self.code = Some(code);
        self
    }
}

/// The request makes no sense.
pub(super) fn invalid(message: impl Into<String>) -> InferenceError {
    InferenceError::new(InferenceErrorKind::Invalid, message)
}

/// A mistake of the client for which Ollama says 500.
pub(super) fn mistaken(message: impl Into<String>) -> InferenceError {
    InferenceError::new(InferenceErrorKind::Mistaken, message)
}

/// The request may be right, but the model or drover is not.
pub(super) fn internal(message: impl Into<String>) -> InferenceError {
    InferenceError::new(InferenceErrorKind::Internal, message)
}
