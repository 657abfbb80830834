//! `POST /v1/rerank` and `POST /v1/score`

use axum::extract::State;
use axum::response::Response;

use super::tokens::model_or_loaded;
use crate::api::rerank::{RerankRequest, ScoreRequest};
use crate::dialect::rerank;
use crate::server::error::OpenAiError;
use crate::server::extract::{Client, OpenAiJson};
use crate::server::openai::head;
use crate::server::state::App;
use crate::server::stream::{json, json_aside};

pub(super) async fn rerank(
    State(app): State<App>,
    client: Client,
    OpenAiJson(mut wire): OpenAiJson<RerankRequest>,
) -> Result<Response, OpenAiError> {
    model_or_loaded(&app, &mut wire.model).await?;
    let head = head("rerank-", &wire.model);
    let mut request = rerank::rerank(wire)?;
    client.mark(&mut request.native.common);
    let native = std::mem::take(&mut request.native);
    let scored = app.inference.rerank(native).await?;
    Ok(json_aside(&app, request.answer(head, &scored)).await?)
}

pub(super) async fn score(
    State(app): State<App>,
    client: Client,
    OpenAiJson(mut wire): OpenAiJson<ScoreRequest>,
) -> Result<Response, OpenAiError> {
    model_or_loaded(&app, &mut wire.model).await?;
    let head = head("score-", &wire.model);
    let mut native = rerank::score(wire)?;
    client.mark(&mut native.common);
    let scored = app.inference.rerank(native).await?;
    Ok(json(&rerank::score_answer(head, &scored)))
}
