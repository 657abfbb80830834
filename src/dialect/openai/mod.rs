//! OpenAI's dialect: requests and responses (<https://platform.openai.com/docs/api-reference>).
//!
//! One submodule for each endpoint group. A request for `n` choices becomes `n` native requests;
//! answers are built from chunks that carry the index of their choice, either event by event
//! (`…Stream`) or whole (`…Fold`).

pub mod batches;
pub mod chat;
mod check;
pub mod completion;
pub mod decision;
pub mod embedding;
mod error;
pub mod files;
mod guided;
mod head;
pub mod models;
pub mod responses;
mod stored;
mod tally;
pub mod transcription;
mod values;

pub use error::{UNKNOWN_URL, error_body, error_status};
pub use head::Head;

use crate::error::{ErrorKind, RequestError};

/// The most choices of one request: OpenAI's own limit of `n`.
const MAX_CHOICES: usize = 128;

fn invalid(message: impl Into<String>) -> RequestError {
    RequestError::new(ErrorKind::Invalid, message)
}
