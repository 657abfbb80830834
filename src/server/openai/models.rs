//! `GET /v1/models` and `GET /v1/models/:model`

use axum::extract::{Path, State};
use axum::response::Response;

use super::answer;
use crate::dialect::openai::models;
use crate::model::ModelName;
use crate::server::error::{ApiError, OpenAiError};
use crate::server::state::App;
use crate::server::stream::to_bytes;
use crate::store::StoreError;

pub(super) async fn list(State(app): State<App>) -> Result<Response, OpenAiError> {
    let store = app.store.clone();
    let listing = app.tasks.spawn_blocking(move || store.list());
    let listed = listing.await??;
    Ok(answer(to_bytes(&models::list(&listed))))
}

/// The name may contain slashes, escaped or not; the answer repeats it as given.
pub(super) async fn retrieve(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, OpenAiError> {
    let (rest, _) = ModelName::split_source(&id).map_err(ApiError::invalid)?;
    let name = ModelName::parse(&rest).map_err(|error| ApiError::invalid(error.to_string()))?;
    let (store, wanted) = (app.store.clone(), name.clone());
    let finding = app.tasks.spawn_blocking(move || store.model(&wanted));
    let found = finding.await?.map_err(|error| match error {
        StoreError::NotFound(_) => {
            ApiError::not_found(format!("model '{}' not found", name.short()))
                .about("model", "model_not_found")
        }
        other => other.into(),
    })?;
    let model = models::model(id, &name, found.modified);
    Ok(answer(to_bytes(&model)))
}
