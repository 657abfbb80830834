//! Anthropic's dialect: requests and responses (<https://docs.anthropic.com/en/api/messages>).

mod answer;
mod error;
mod models;
mod request;
mod signature;
mod stream;
mod tools;
mod turns;

pub use answer::MessageFold;
pub use error::{error_body, error_status};
pub use models::{list, model};
pub use request::{Purpose, request};
pub use stream::MessageStream;

use crate::error::{ErrorKind, RequestError};

/// What all events of an answer share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `msg_…`
    pub id: String,
    /// The model's name as the client sent it.
    pub model: String,
    /// The client does not want to see the model's thinking.
    pub hides_thinking: bool,
}

/// An error about a field, in Anthropic's form: `field: what is wrong`.
fn invalid(field: &str, what: impl std::fmt::Display) -> RequestError {
    let error = RequestError::new(ErrorKind::Invalid, format!("{field}: {what}"));
    error.about(field.to_owned(), "invalid_value")
}
