//! Errors as the OpenAI routes spell them: `{"error":{"message","type","param","code"}}`.

use crate::api::openai::{ErrorBody, ErrorDetail};
use crate::dialect::status;
use crate::error::{ErrorKind, RequestError};

/// `code` of a path that is none, for which OpenAI has another type than for a model that is none.
pub const UNKNOWN_URL: &str = "unknown_url";

/// Returns the HTTP status. What is the client's mistake is never 500: clients send that again.
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
        | ErrorKind::MethodNotAllowed => "invalid_request_error",
        ErrorKind::NotFound if error.code == Some(UNKNOWN_URL) => "invalid_request_error",
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
