//! Errors of the client, in the words of Ollama's client.

use std::error::Error as _;

use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::api::ollama::ErrorBody;

const NO_MESSAGE: &str = "something went wrong, please see the ollama server logs for details";

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens at the address.
    #[error("could not connect to ollama server, run 'ollama serve' to start it")]
    Unreachable,
    /// The daemon answered with an error status; `prefix` is the status line or empty.
    #[error("{prefix}{message}")]
    Status {
        status: u16,
        prefix: String,
        message: String,
    },
    /// A line of a running stream carried an error.
    #[error("{0}")]
    Stream(String),
    /// The network or the protocol failed.
    #[error("{0}")]
    Transport(String),
    /// A line of a stream is longer than any line that a daemon sends.
    #[error("line of the answer is too long")]
    LineTooLong,
    /// The response does not match the API.
    #[error("unexpected answer: {0}")]
    Decode(#[from] serde_json::Error),
}

impl ClientError {
    /// Whether the daemon said that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. })
    }

    /// Adds the status, which only the errors of streaming requests name.
    pub(super) fn with_status_line(self) -> Self {
        match self {
            Self::Status {
                status, message, ..
            } => {
                let code = StatusCode::from_u16(status).ok();
                let reason = code.and_then(|code| code.canonical_reason()).unwrap_or("");
                Self::Status {
                    status,
                    prefix: format!("{status} {reason}: "),
                    message,
                }
            }
            other => other,
        }
    }
}

impl From<reqwest::Error> for ClientError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_connect() && is_refused(&error) {
            return Self::Unreachable;
        }
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        Self::Transport(text)
    }
}

fn is_refused(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        source = inner.source();
    }
    false
}

/// Turns a response with an error status into an error.
pub(super) async fn from_response(response: Response) -> ClientError {
    let status = response.status().as_u16();
    let body = response.text().await.unwrap_or_default();
    ClientError::Status {
        status,
        prefix: String::new(),
        message: message_of(&body),
    }
}

/// Returns the message of an error in OpenAI's format; `None` for other bodies.
pub(super) fn openai_message(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: Detail,
    }
    #[derive(Deserialize)]
    struct Detail {
        message: String,
    }
    let body: Body = serde_json::from_slice(json).ok()?;
    Some(body.error.message)
}

fn message_of(body: &str) -> String {
    let message = match serde_json::from_str::<ErrorBody>(body) {
        Ok(parsed) => parsed.error,
        Err(_) => openai_message(body.as_bytes()).unwrap_or_else(|| body.trim_end().to_owned()),
    };
    if message.is_empty() {
        NO_MESSAGE.to_owned()
    } else {
        message
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_message_is_the_error_field_or_the_raw_body() {
        assert_eq!(message_of(r#"{"error":"no"}"#), "no");
        assert_eq!(message_of(r#"{"error":{"message":"no"}}"#), "no");
        assert_eq!(message_of("bad gateway\n"), "bad gateway");
        assert_eq!(message_of(""), NO_MESSAGE);
        assert_eq!(message_of("{}"), NO_MESSAGE);
    }

    #[test]
    fn streams_name_the_status() {
        let error = ClientError::Status {
            status: 400,
            prefix: String::new(),
            message: "\"llama3\" does not support thinking".to_owned(),
        };
        assert_eq!(
            error.with_status_line().to_string(),
            "400 Bad Request: \"llama3\" does not support thinking"
        );
    }
}
