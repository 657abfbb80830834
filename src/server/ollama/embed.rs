//! `POST /api/embed` and the legacy `POST /api/embeddings`.

use axum::extract::State;
use axum::response::Response;

use crate::api::ollama::{EmbedRequest, EmbeddingsRequest};
use crate::dialect::ollama;
use crate::server::error::OllamaError;
use crate::server::extract::{Client, OllamaJson};
use crate::server::state::App;
use crate::server::stream::{json, json_aside};

pub(super) async fn embed(
    State(app): State<App>,
    client: Client,
    OllamaJson(request): OllamaJson<EmbedRequest>,
) -> Result<Response, OllamaError> {
    let model = request.model.clone();
    let mut request = ollama::embed(request, client.name.clone())?;
    client.mark(&mut request.common);
    let answer = app.inference.embed(request).await?;
    // Encoding a million numbers takes long.
    Ok(json_aside(&app, ollama::embed_answer(model, answer)).await?)
}

pub(super) async fn embeddings(
    State(app): State<App>,
    client: Client,
    OllamaJson(request): OllamaJson<EmbeddingsRequest>,
) -> Result<Response, OllamaError> {
    let mut request = ollama::embeddings(request, client.name.clone())?;
    client.mark(&mut request.common);
    let answer = app.inference.embed(request).await?;
    Ok(json(&ollama::embeddings_answer(answer)))
}
