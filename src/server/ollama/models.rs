//! `GET /api/tags`, `GET /api/ps`, `POST /api/show`.

use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use jiff::Timestamp;

use super::fit::fit_of;
use super::{invalid_name, wanted};
use crate::api::ollama::{FitRequest, ListResponse, ProcessResponse, ShowRequest, ShowResponse};
use crate::device;
use crate::dialect::ollama::{self, Files, KeyValues};
use crate::error::ErrorKind;
use crate::model::ModelName;
use crate::model::gguf::{GgufError, Metadata};
use crate::model::name::Source;
use crate::renderer::GoTemplate;
use crate::server::access::Access;
use crate::server::error::{ApiError, OllamaError};
use crate::server::extract::{Held, OllamaJson};
use crate::server::origin::Origin;
use crate::server::state::App;
use crate::server::stream::{json, json_aside};
use crate::server::ui::batch_state;
use crate::store::{Store, StoreError};

const CLOUD_DETAILS: &str = "ollama cloud is disabled: remote model details are unavailable";

/// This client reads the model's name from its metadata.
const COPILOT: &str = "GitHubCopilotChat/";

pub(super) async fn tags(State(app): State<App>, access: Access) -> Result<Response, OllamaError> {
    let store = app.store.clone();
    let wants_template = app.config.go_template;
    let turn = app.store.turn().await;
    let models = app.block(move || {
        let _turn = turn;
        list(&store, &access, wants_template)
    });
    let models = models.await??;
    Ok(json(&models))
}

fn list(
    store: &Store,
    access: &Access,
    wants_template: Option<bool>,
) -> Result<ListResponse, StoreError> {
    let mut models = store.list()?;
    models.retain(|model| access.sees(&model.name));
    let models = models.iter().map(|model| {
        let weights = header(model.weights.as_deref(), |path| store.gguf(path));
        let projector = model.projectors.first().map(std::path::PathBuf::as_path);
        let projector = header(projector, |path| store.gguf(path));
        let text = model
            .template
            .as_deref()
            .and_then(|path| store.template(path).ok());
        let template = text.and_then(|text| GoTemplate::parse(&text).ok());
        let files = Files {
            weights: weights.as_ref(),
            projector: projector.as_ref(),
            has_projector: !model.projectors.is_empty(),
            template: template.as_ref(),
            wants_template,
        };
        ollama::listed(model, &files)
    });
    Ok(ListResponse {
        models: models.collect(),
    })
}

/// Reads a header; an unreadable one is left out of the answer, as in Ollama.
fn header(
    path: Option<&Path>,
    read: impl FnOnce(&Path) -> Result<Arc<Metadata>, GgufError>,
) -> Option<Arc<Metadata>> {
    let path = path?;
    match read(path) {
        Ok(header) => Some(header),
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "unreadable GGUF header");
            None
        }
    }
}

pub(super) async fn ps(State(app): State<App>, access: Access) -> Result<Response, OllamaError> {
    let mut loaded = app.scheduler.loaded().await;
    loaded.retain(|loaded| access.sees(&loaded.name));
    let store = app.store.clone();
    let mut batches = app.jobs.batches.active().await.unwrap_or_default();
    let seen = access.seen();
    batches.retain(|batch| seen.has(&batch.owner));
    let models = app.block(move || {
        let now = Timestamp::now();
        let spell = |model| {
            let config = config_of(&store, model);
            ollama::loaded(model, config.as_ref(), now)
        };
        let models = loaded.iter().map(spell).collect();
        (models, device::cards())
    });
    let (models, cards) = models.await?;
    Ok(json(&ProcessResponse {
        models,
        gpus: cards,
        batches: batches.into_iter().map(batch_state).collect(),
        gpu_problem: app.scheduler.gpu_obstacle(),
    }))
}

/// The config of a loaded model; it may have been deleted meanwhile.
fn config_of(
    store: &Store,
    model: &crate::scheduler::LoadedModel,
) -> Option<crate::model::ImageConfig> {
    store.model(&model.name).ok().map(|model| model.config)
}

pub(super) async fn show(
    State(app): State<App>,
    (headers, access): (HeaderMap, Access),
    origin: Origin,
    held: Held,
    OllamaJson(mut request): OllamaJson<ShowRequest>,
) -> Result<Response, OllamaError> {
    let requested = wanted(
        std::mem::take(&mut request.model),
        std::mem::take(&mut request.name),
    );
    if requested.is_empty() {
        return Err(ApiError::invalid("model is required").into());
    }
    let (rest, source) = ModelName::split_source(&requested).map_err(ApiError::invalid)?;
    if source == Source::Cloud {
        return Err(ApiError::new(ErrorKind::Forbidden, CLOUD_DETAILS).into());
    }
    let name = ModelName::parse(&rest).map_err(|_| invalid_name())?;
    access.check(&name)?;
    let store = app.store.clone();
    let wants_template = app.config.go_template;
    let turn = app.store.turn().await;
    let wants_fit = std::mem::take(&mut request.fit);
    let read = move || {
        let _turn = turn;
        details(&store, &name, source, &request, wants_template)
    };
    let mut answer = app.block(read).await??;
    if wants_fit {
        let question = FitRequest {
            model: requested.clone(),
            ..FitRequest::default()
        };
        answer.fit = Some(fit_of(&app, question).await?);
    }
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    if agent.is_some_and(|agent| agent.starts_with(COPILOT)) {
        answer.model_info.set_basename(requested);
    }
    let mut share = app.memory.share(origin);
    let infos = [&answer.model_info, &answer.projector_info];
    let n_bytes = infos.into_iter().map(KeyValues::bytes);
    share.grow(n_bytes.sum()).await?;
    held.keep(share);
    Ok(json_aside(&app, answer).await?)
}

pub(crate) fn details(
    store: &Store,
    name: &ModelName,
    source: Source,
    request: &ShowRequest,
    wants_template: Option<bool>,
) -> Result<ShowResponse<KeyValues>, ApiError> {
    let missing = || ApiError::not_found(format!("model '{}' not found", name.short()));
    let model = store.model(name).map_err(|error| match error {
        StoreError::NotFound(_) => missing(),
        other => other.into(),
    })?;
    if source == Source::Local && !model.config.remote_host.is_empty() {
        return Err(missing());
    }
    let read = |path: &Path| match request.verbose {
        true => store.gguf_whole(path).map(Arc::new),
        false => store.gguf(path),
    };
    let weights = header(model.weights.as_deref(), read);
    let projector = model.projectors.first().map(std::path::PathBuf::as_path);
    let projector = header(projector, read);
    let template = model
        .template
        .as_deref()
        .and_then(|text| GoTemplate::parse(text).ok());
    let files = Files {
        weights: weights.as_ref(),
        projector: projector.as_ref(),
        has_projector: !model.projectors.is_empty(),
        template: template.as_ref(),
        wants_template,
    };
    Ok(ollama::show(&model, &files, request))
}
