//! `POST /api/fit`: where a model would go, which Ollama cannot tell.

use axum::extract::State;
use axum::response::Response;

use crate::api::ollama::{FitRequest, FitResponse};
use crate::dialect::ollama;
use crate::server::error::{ApiError, OllamaError};
use crate::server::extract::OllamaJson;
use crate::server::state::App;
use crate::server::stream::json;

pub(super) async fn fit(
    State(app): State<App>,
    OllamaJson(request): OllamaJson<FitRequest>,
) -> Result<Response, OllamaError> {
    Ok(json(&fit_of(&app, request).await?))
}

/// Says where a model would go.
pub(super) async fn fit_of(app: &App, request: FitRequest) -> Result<FitResponse, ApiError> {
    let model = request.model.clone();
    let request = ollama::fit_request(request)?;
    let fit = app.inference.fit(request).await?;
    Ok(ollama::fit_response(&model, &fit))
}
