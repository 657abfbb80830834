//! Ollama's routes, one file per group of endpoints.

mod asker;
mod blobs;
mod chat;
mod cloud;
mod create;
mod embed;
mod fit;
mod generate;
mod manage;
mod models;
mod progress;
mod transfer;

use axum::routing::head;

use super::error::ApiError;
use super::router::{Routes, route, route_by_method};
pub(super) use models::details;

/// The routes, for `router.rs` to merge.
pub(super) fn routes() -> Routes {
    [
        route("/api/status", "GET", cloud::status),
        route("/api/tags", "HEAD, GET", models::tags),
        route("/api/ps", "GET", models::ps),
        route("/api/show", "POST", models::show),
        route("/api/fit", "POST", fit::fit),
        route("/api/generate", "POST", generate::generate),
        route("/api/chat", "POST", chat::chat),
        route("/api/embed", "POST", embed::embed),
        route("/api/embeddings", "POST", embed::embeddings),
        route("/api/pull", "POST", transfer::pull),
        route("/api/push", "POST", transfer::push),
        route("/api/create", "POST", create::create),
        route("/api/copy", "POST", manage::copy),
        route("/api/delete", "DELETE", manage::delete),
        route_by_method(
            "/api/blobs/{digest}",
            "HEAD, POST",
            head(blobs::exists).post(blobs::upload),
        ),
        route("/api/me", "POST", cloud::me),
        route("/api/signout", "POST", cloud::sign_out),
        route("/api/user/keys/{key}", "DELETE", cloud::sign_out),
        route("/api/experimental/web_search", "POST", cloud::web_search),
        route("/api/experimental/web_fetch", "POST", cloud::web_fetch),
        route(
            "/api/experimental/model-recommendations",
            "GET",
            cloud::recommendations,
        ),
    ]
    .into_iter()
    .fold(Routes::new(), Routes::merge)
}

/// The model's name, from `model` or else `name`.
fn wanted(model: String, name: String) -> String {
    if model.is_empty() { name } else { model }
}

fn invalid_name() -> ApiError {
    ApiError::invalid("invalid model name")
}
