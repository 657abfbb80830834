//! `POST /api/fit`: where a model would be placed, which Ollama cannot tell.

use axum::extract::State;
use axum::response::Response;

use crate::api::ollama::{FitRequest, FitResponse};
use crate::dialect::ollama;
use crate::model::ModelName;
use crate::server::access::Access;
use crate::server::error::{ApiError, OllamaError};
use crate::server::extract::OllamaJson;
use crate::server::state::App;
use crate::server::stream::json;

pub(super) async fn fit(
    State(app): State<App>,
    access: Access,
    OllamaJson(request): OllamaJson<FitRequest>,
) -> Result<Response, OllamaError> {
    // An invalid name is refused below.
    let name = ModelName::split_source(&request.model).ok();
    if let Some(name) = name.and_then(|(name, _)| ModelName::parse(&name).ok()) {
        access.check(&name)?;
    }
    Ok(json(&fit_of(&app, request).await?))
}

/// Says where a model would be placed.
pub(super) async fn fit_of(app: &App, request: FitRequest) -> Result<FitResponse, ApiError> {
    let model = request.model.clone();
    let request = ollama::fit_request(request)?;
    let fit = app.inference.fit(request).await?;
    Ok(ollama::fit_response(&model, &fit))
}
