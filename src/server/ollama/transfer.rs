//! `POST /api/pull`, `POST /api/push`: the registry is not there yet, and says so as a registry
//! that fails would.

use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use serde::Deserialize;

use super::{invalid_name, progress, wanted};
use crate::chat::null_is_default;
use crate::model::ModelName;
use crate::server::error::{ApiError, OllamaError};
use crate::server::extract::OllamaJson;
use crate::server::state::App;

/// What is read of both bodies.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TransferRequest {
    #[serde(deserialize_with = "null_is_default")]
    model: String,
    #[serde(deserialize_with = "null_is_default")]
    name: String,
    stream: Option<bool>,
}

pub(super) async fn pull(
    State(app): State<App>,
    OllamaJson(request): OllamaJson<TransferRequest>,
) -> Result<Response, OllamaError> {
    let requested = wanted(request.model, request.name);
    let (rest, _) = ModelName::split_source(&requested).map_err(|_| invalid_name())?;
    ModelName::parse(&rest).map_err(|_| invalid_name())?;
    let steps = [
        Ok(progress::step("pulling manifest")),
        Err(ApiError::internal(
            "pull model manifest: pulling is not available in this build of drover yet",
        )),
    ];
    Ok(progress::answer(&app, request.stream, stream::iter(steps)).await?)
}

pub(super) async fn push(
    State(app): State<App>,
    OllamaJson(request): OllamaJson<TransferRequest>,
) -> Result<Response, OllamaError> {
    let requested = wanted(request.model, request.name);
    if requested.is_empty() {
        return Err(ApiError::invalid("model is required").into());
    }
    let refusal = match ModelName::parse(&requested) {
        Ok(_) => "pushing is not available in this build of drover yet",
        Err(_) => "invalid model name",
    };
    let steps = [
        Ok(progress::step("retrieving manifest")),
        Err(ApiError::internal(refusal)),
    ];
    Ok(progress::answer(&app, request.stream, stream::iter(steps)).await?)
}
