//! Ollama's routes, one file per group of endpoints.

mod asker;
mod blobs;
mod chat;
mod cloud;
mod create;
mod embed;
mod generate;
mod manage;
mod models;
mod progress;
mod transfer;

use axum::Router;
use axum::routing::{delete, get, head, post};

use super::error::ApiError;
use super::router::route;
use super::state::App;

/// The routes, for `router.rs` to merge.
pub(super) fn routes() -> Router<App> {
    [
        route("/api/status", "GET", get(cloud::status)),
        route("/api/tags", "HEAD, GET", get(models::tags)),
        route("/api/ps", "GET", get(models::ps)),
        route("/api/show", "POST", post(models::show)),
        route("/api/generate", "POST", post(generate::generate)),
        route("/api/chat", "POST", post(chat::chat)),
        route("/api/embed", "POST", post(embed::embed)),
        route("/api/embeddings", "POST", post(embed::embeddings)),
        route("/api/pull", "POST", post(transfer::pull)),
        route("/api/push", "POST", post(transfer::push)),
        route("/api/create", "POST", post(create::create)),
        route("/api/copy", "POST", post(manage::copy)),
        route("/api/delete", "DELETE", delete(manage::delete)),
        route(
            "/api/blobs/{digest}",
            "HEAD, POST",
            head(blobs::exists).post(blobs::upload),
        ),
        route("/api/me", "POST", post(cloud::me)),
        route("/api/signout", "POST", post(cloud::sign_out)),
        route("/api/user/keys/{key}", "DELETE", delete(cloud::sign_out)),
        route(
            "/api/experimental/web_search",
            "POST",
            post(cloud::web_search),
        ),
        route(
            "/api/experimental/web_fetch",
            "POST",
            post(cloud::web_fetch),
        ),
        route(
            "/api/experimental/model-recommendations",
            "GET",
            get(cloud::recommendations),
        ),
    ]
    .into_iter()
    .fold(Router::new(), Router::merge)
}

/// The model's name, from `model` or else `name`.
fn wanted(model: String, name: String) -> String {
    if model.is_empty() { name } else { model }
}

fn invalid_name() -> ApiError {
    ApiError::invalid("invalid model name")
}
