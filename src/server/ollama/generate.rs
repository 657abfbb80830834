//! `POST /api/generate`

use axum::extract::State;
use axum::response::Response;
use futures_util::StreamExt as _;
use jiff::Timestamp;

use crate::api::ollama::GenerateRequest;
use crate::dialect::ollama;
use crate::server::error::OllamaError;
use crate::server::extract::{Client, OllamaJson};
use crate::server::state::App;
use crate::server::stream::{NDJSON, fold, json, looked_at, open, streamed, to_bytes, told};

pub(super) async fn generate(
    State(app): State<App>,
    client: Client,
    OllamaJson(request): OllamaJson<GenerateRequest>,
) -> Result<Response, OllamaError> {
    // Loading, unloading and rendering answer with one plain object.
    let is_plain = request.prompt.is_empty() || request.debug_render_only;
    let streams = request.stream != Some(false) && !is_plain;
    let model = request.model.clone();
    let mut request = ollama::generate(request, client.name.clone())?;
    client.mark(&mut request.common);
    let inference = app.inference.clone();
    if !streams {
        let whole = fold(inference.generate(request).await?).await?;
        let is_cut = whole.prompt_truncated;
        let answer = ollama::generate_chunk(&model, whole, Timestamp::now());
        return Ok(told(json(&answer), is_cut));
    }
    let chunks = open(async move { inference.generate(request).await }).await?;
    let (chunks, is_cut) = looked_at(chunks, |chunk| chunk.prompt_truncated);
    let lines = chunks.map(move |chunk| {
        let answer = ollama::generate_chunk(&model, chunk?, Timestamp::now());
        Ok::<_, crate::error::RequestError>(to_bytes(&answer))
    });
    Ok(told(streamed(NDJSON, lines, &app.cut_off), is_cut))
}
