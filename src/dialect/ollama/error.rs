//! Errors of Ollama's routes: `{"error":"…"}`.

use crate::api::ollama::ErrorBody;
use crate::dialect::status;
use crate::error::{ErrorKind, RequestError};

/// Returns the HTTP status.
pub fn error_status(kind: ErrorKind) -> u16 {
    status::of(kind)
}

/// Returns the body, which is also the last line of a stream that failed.
pub fn error_body(error: &RequestError) -> ErrorBody {
    ErrorBody {
        error: status::shown(error, error_status(error.kind)),
    }
}
