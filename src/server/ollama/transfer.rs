//! `POST /api/pull`, `POST /api/push`

use axum::extract::State;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};

use super::{invalid_name, progress, wanted};
use crate::api::ollama::{ModelRequest, TransferRequest};
use crate::model::ModelName;
use crate::registry::{Asker, Steps, Wish};
use crate::server::access::Access;
use crate::server::error::{ApiError, OllamaError};
use crate::server::extract::{Body, OllamaJson};
use crate::server::gate::Pass;
use crate::server::origin::Origin;
use crate::server::state::App;

impl Body for TransferRequest {
    const LIMIT: Option<usize> = ModelRequest::LIMIT;
}

pub(super) async fn pull(
    State(app): State<App>,
    access: Access,
    origin: Origin,
    asker: Asker,
    OllamaJson(request): OllamaJson<TransferRequest>,
) -> Result<Response, OllamaError> {
    let requested = wanted(request.model, request.name);
    let (rest, _) = ModelName::split_source(&requested).map_err(|_| invalid_name())?;
    let name = ModelName::parse(&rest).map_err(|_| invalid_name())?;
    access.check(&name)?;
    let name = spelled(&app, name).await?;
    let pass = app.gates.transfers.enter(origin).await?;
    let steps = app.registry.pull(Wish {
        name,
        insecure: request.insecure,
        asker,
    });
    answer(&app, &access, request.stream, (steps, pass)).await
}

pub(super) async fn push(
    State(app): State<App>,
    access: Access,
    origin: Origin,
    asker: Asker,
    OllamaJson(request): OllamaJson<TransferRequest>,
) -> Result<Response, OllamaError> {
    let requested = wanted(request.model, request.name);
    if requested.is_empty() {
        return Err(ApiError::invalid("model is required").into());
    }
    let Ok(name) = ModelName::parse(&requested) else {
        let steps = [
            Ok(progress::step("retrieving manifest")),
            Err(ApiError::internal("invalid model name")),
        ];
        return Ok(progress::answer(&app, &access, request.stream, stream::iter(steps)).await?);
    };
    access.check(&name)?;
    let name = spelled(&app, name).await?;
    let pass = app.gates.transfers.enter(origin).await?;
    let steps = app.registry.push(Wish {
        name,
        insecure: request.insecure,
        asker,
    });
    answer(&app, &access, request.stream, (steps, pass)).await
}

async fn answer(
    app: &App,
    access: &Access,
    stream: Option<bool>,
    (steps, pass): (Steps, Pass),
) -> Result<Response, OllamaError> {
    let steps = steps.map(move |step| {
        let _held_to_the_end = &pass;
        step.map_err(ApiError::from)
    });
    Ok(progress::answer(app, access, stream, steps).await?)
}

/// The name in the store's spelling, if it has the model.
async fn spelled(app: &App, name: ModelName) -> Result<ModelName, ApiError> {
    let store = app.store.clone();
    Ok(app.block(move || store.resolve(&name)).await??)
}
