//! Errors, as all dialects report them.

use std::borrow::Cow;

use crate::error::{ErrorKind, RequestError};
use crate::plain;

/// The status that Ollama uses for a client that closed the connection.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Returns the HTTP status of a kind.
pub(super) fn of(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::Invalid => 400,
        ErrorKind::Unauthorized => 401,
        ErrorKind::Forbidden => 403,
        ErrorKind::NotFound => 404,
        ErrorKind::MethodNotAllowed => 405,
        ErrorKind::Timeout => 408,
        ErrorKind::Conflict => 409,
        ErrorKind::TooLarge => 413,
        ErrorKind::Canceled => CLIENT_CLOSED_REQUEST,
        ErrorKind::RateLimited => 429,
        ErrorKind::Internal | ErrorKind::Mistaken => 500,
        ErrorKind::Unsupported => 501,
        ErrorKind::Overloaded => 503,
        ErrorKind::DeadlineExceeded => 504,
    }
}

/// Returns the message for the client; internal errors without this machine's paths.
pub(super) fn shown(error: &RequestError, status: u16) -> String {
    let message = plain::redacted(&error.message);
    if status >= 500 {
        plain::without_paths(&message).into_owned()
    } else {
        Cow::into_owned(message)
    }
}
