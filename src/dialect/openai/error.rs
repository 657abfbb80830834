//! Errors of OpenAI's routes: `{"error":{"message","type","param","code"}}`.

use crate::api::openai::{ErrorBody, ErrorDetail};
use crate::dialect::status;
use crate::error::{ErrorKind, RequestError};

/// The `code` for an unknown path: its error type differs from that for an unknown model.
pub const UNKNOWN_URL: &str = "unknown_url";

/// Returns the HTTP status. Client errors are never 500, since clients would retry them.
pub fn error_status(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::Mistaken => 400,
        kind => status::of(kind),
    }
}

/// Returns the body, which is also the last event of a stream that failed.
pub fn error_body(error: &RequestError) -> ErrorBody {
    let kind = match error.kind {
        ErrorKind::Invalid
        | ErrorKind::Mistaken
        | ErrorKind::TooLarge
        | ErrorKind::Conflict
        | ErrorKind::Unauthorized
        | ErrorKind::MethodNotAllowed => "invalid_request_error",
        ErrorKind::Forbidden if error.code.is_some() => "invalid_request_error",
        ErrorKind::RateLimited => "rate_limit_error",
        ErrorKind::NotFound if error.code == Some(UNKNOWN_URL) => "invalid_request_error",
        // Ollama has a separate error type only for models.
        ErrorKind::NotFound if error.param.as_deref() == Some("id") => "invalid_request_error",
        ErrorKind::NotFound => "not_found_error",
        _ => "api_error",
    };
    ErrorBody {
        error: ErrorDetail {
            message: status::shown(error, error_status(error.kind)),
            kind,
            param: error.param.clone(),
            code: error.code,
        },
    }
}
