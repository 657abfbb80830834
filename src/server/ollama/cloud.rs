//! Routes that need Ollama's cloud: answered as Ollama does when it is switched off. Nothing here
//! reaches the network.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::server::error::{ApiError, OllamaError};
use crate::server::extract::{Ignored, OllamaJson};
use crate::server::stream;

pub(super) async fn status() -> Response {
    stream::json(&json!({"cloud": {"disabled": true, "source": "config"}}))
}

pub(super) async fn recommendations() -> Response {
    stream::json(&json!({"recommendations": []}))
}

pub(super) async fn me() -> OllamaError {
    refuse(StatusCode::UNAUTHORIZED, "unauthorized")
}

pub(super) async fn sign_out() -> OllamaError {
    refuse(StatusCode::UNAUTHORIZED, "you are not currently signed in")
}

pub(super) async fn web_search(OllamaJson(_): OllamaJson<Ignored>) -> OllamaError {
    refuse(
        StatusCode::FORBIDDEN,
        "ollama cloud is disabled: web search is unavailable",
    )
}

pub(super) async fn web_fetch(OllamaJson(_): OllamaJson<Ignored>) -> OllamaError {
    refuse(
        StatusCode::FORBIDDEN,
        "ollama cloud is disabled: web fetch is unavailable",
    )
}

fn refuse(status: StatusCode, message: &str) -> OllamaError {
    ApiError::new(status, message).into()
}
