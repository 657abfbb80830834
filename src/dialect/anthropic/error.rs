//! Errors of Anthropic's routes: `{"type":"error","error":{"type","message"},"request_id"}`.

use crate::api::anthropic::{ErrorBody, ErrorDetail};
use crate::dialect::status;
use crate::error::{ErrorKind, RequestError};

/// Returns the HTTP status. Client errors are never 500, since clients would retry them.
pub fn error_status(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::Mistaken => 400,
        kind => status::of(kind),
    }
}

/// Returns the body; `request_id` is `None` for the last event of a stream.
pub fn error_body(error: &RequestError, request_id: Option<String>) -> ErrorBody {
    let kind = match error.kind {
        ErrorKind::Invalid
        | ErrorKind::Mistaken
        | ErrorKind::MethodNotAllowed
        | ErrorKind::Unsupported => "invalid_request_error",
        ErrorKind::TooLarge => "request_too_large",
        ErrorKind::Unauthorized => "authentication_error",
        ErrorKind::Forbidden => "permission_error",
        ErrorKind::NotFound => "not_found_error",
        ErrorKind::Conflict => "conflict_error",
        ErrorKind::Timeout | ErrorKind::DeadlineExceeded => "timeout_error",
        ErrorKind::Overloaded => "overloaded_error",
        ErrorKind::RateLimited => "rate_limit_error",
        ErrorKind::Canceled | ErrorKind::Internal => "api_error",
    };
    ErrorBody {
        kind: "error",
        error: ErrorDetail {
            kind,
            message: status::shown(error, error_status(error.kind)),
        },
        request_id,
    }
}
