//! Routes that need Ollama's cloud: answered as Ollama does when it is switched off. Nothing here
//! reaches the network.

use axum::response::Response;

use crate::api::ollama::{Cloud, CloudStatus, Recommendations};
use crate::error::ErrorKind;
use crate::server::error::{ApiError, OllamaError};
use crate::server::extract::{Ignored, OllamaJson};
use crate::server::stream;

pub(super) async fn status() -> Response {
    stream::json(&CloudStatus {
        cloud: Cloud {
            disabled: true,
            source: "config",
        },
    })
}

pub(super) async fn recommendations() -> Response {
    stream::json(&Recommendations::default())
}

pub(super) async fn me() -> OllamaError {
    refuse(ErrorKind::Unauthorized, "unauthorized")
}

pub(super) async fn sign_out() -> OllamaError {
    refuse(ErrorKind::Unauthorized, "you are not currently signed in")
}

pub(super) async fn web_search(OllamaJson(_): OllamaJson<Ignored>) -> OllamaError {
    refuse(
        ErrorKind::Forbidden,
        "ollama cloud is disabled: web search is unavailable",
    )
}

pub(super) async fn web_fetch(OllamaJson(_): OllamaJson<Ignored>) -> OllamaError {
    refuse(
        ErrorKind::Forbidden,
        "ollama cloud is disabled: web fetch is unavailable",
    )
}

fn refuse(kind: ErrorKind, message: &str) -> OllamaError {
    ApiError::new(kind, message).into()
}
