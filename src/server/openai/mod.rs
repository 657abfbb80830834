//! OpenAI's routes (`/v1`).
//!
//! *Invariant:* every error is in OpenAI's envelope, even one that ends a stream.

mod batches;
mod chat;
mod choices;
mod completion;
mod content;
mod decision;
mod embedding;
mod files;
mod models;
mod responses;
mod transcription;
mod uploads;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::Timestamp;

pub(super) use responses::{Responses, sweep};

use super::router::{Routes, route, wildcard};
use crate::dialect::openai::Head;

/// The routes, for `router.rs` to merge.
pub(super) fn routes() -> Routes {
    Routes::new()
        .merge(chat::routes())
        .merge(route("/v1/completions", "POST", completion::completion))
        .merge(route("/v1/embeddings", "POST", embedding::embeddings))
        .merge(route(
            "/v1/audio/transcriptions",
            "POST",
            transcription::transcription,
        ))
        .merge(route("/v1/decisions", "POST", decision::decisions))
        .merge(batches::routes())
        .merge(files::routes())
        .merge(uploads::routes())
        .merge(responses::routes())
        .merge(route("/v1/models", "GET", models::list))
        .merge(wildcard("/v1/models/{*model}", "GET", models::retrieve))
}

/// Makes the head of an answer by `model`.
pub(super) fn head(prefix: &str, model: &str) -> Head {
    Head::new(prefix, model, Timestamp::now(), &mut fastrand::Rng::new())
}

/// Answers 200 with a line of JSON, with the content type that Ollama uses on these routes.
fn answer(line: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], line).into_response()
}
