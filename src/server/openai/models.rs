//! `GET /v1/models` and `GET /v1/models/:model`

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;

use super::answer;
use crate::dialect::anthropic;
use crate::dialect::openai::models;
use crate::model::ModelName;
use crate::server::access::Access;
use crate::server::error::{AnthropicError, ApiError, OpenAiError};
use crate::server::state::App;
use crate::server::stream::{json, to_bytes};
use crate::store::StoreError;

/// Anthropic's SDK sends this header, and has the same two routes.
const ANTHROPIC: &str = "anthropic-version";

pub(super) async fn list(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
) -> Result<Response, OpenAiError> {
    let store = app.store.clone();
    let listing = app.tasks.spawn_blocking(move || store.list());
    let mut listed = listing.await??;
    listed.retain(|model| access.sees(&model.name));
    if headers.contains_key(ANTHROPIC) {
        return Ok(json(&anthropic::list(&listed)));
    }
    Ok(answer(to_bytes(&models::list(&listed))))
}

/// The name may contain slashes, escaped or not; the answer repeats it as given.
pub(super) async fn retrieve(
    State(app): State<App>,
    Path(id): Path<String>,
    access: Access,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let is_anthropic = headers.contains_key(ANTHROPIC);
    let found = find(&app, &access, &id).await;
    match found {
        Ok((_, modified)) if is_anthropic => Ok(json(&anthropic::model(id, modified))),
        Ok((name, modified)) => Ok(answer(to_bytes(&models::model(id, &name, modified)))),
        Err(error) if is_anthropic => Err(AnthropicError(error).into_response()),
        Err(error) => Err(OpenAiError(error).into_response()),
    }
}

async fn find(app: &App, access: &Access, id: &str) -> Result<(ModelName, Timestamp), ApiError> {
    let (rest, _) = ModelName::split_source(id).map_err(ApiError::invalid)?;
    let name = ModelName::parse(&rest).map_err(|error| ApiError::invalid(error.to_string()))?;
    access.check(&name)?;
    let (store, wanted) = (app.store.clone(), name.clone());
    let finding = app.tasks.spawn_blocking(move || store.model(&wanted));
    let found = finding.await?.map_err(|error| match error {
        StoreError::NotFound(_) => {
            ApiError::not_found(format!("model '{}' not found", name.short()))
                .about("model", "model_not_found")
        }
        other => other.into(),
    })?;
    Ok((name, found.modified))
}
