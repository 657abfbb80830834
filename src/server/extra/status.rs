//! `GET /props` and `GET /slots`: what is loaded. Read-only.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use super::tokens::model_or_loaded;
use crate::api::llama_server::{GenerationSettings, Modalities, Props, Slot};
use crate::api::ollama::ShowRequest;
use crate::model::ModelName;
use crate::model::capability::Capability;
use crate::model::name::Source;
use crate::server::access::Access;
use crate::server::error::{ApiError, OpenAiError};
use crate::server::ollama::details;
use crate::server::query::parameter;
use crate::server::state::App;
use crate::server::stream::json;

/// The parameter that names a model.
const MODEL: &str = "model";

pub(super) async fn props(
    State(app): State<App>,
    access: Access,
    uri: Uri,
) -> Result<Response, OpenAiError> {
    let mut model = parameter(&uri, MODEL).unwrap_or_default();
    model_or_loaded(&app, &mut model).await?;
    let name = ModelName::parse(&model);
    let name = name.map_err(|error| ApiError::invalid(error.to_string()))?;
    access.check(&name)?;
    let loaded = app.scheduler.loaded().await;
    let loaded = loaded.iter().find(|loaded| loaded.name == name);
    let (n_slots, n_ctx) = loaded.map_or((0, 0), |loaded| {
        (loaded.info.n_slots, loaded.context_length)
    });
    let (store, wants_template) = (app.store.clone(), app.config.go_template);
    let short = name.short();
    let turn = app.store.turn().await;
    let shown = app.block(move || {
        let _turn = turn;
        details(
            &store,
            &name,
            Source::Unspecified,
            &ShowRequest::default(),
            wants_template,
        )
    });
    let shown = shown.await??;
    let can = |capability: Capability| {
        let mut names = shown.capabilities.iter();
        names.any(|name| name == capability.as_str())
    };
    Ok(json(&Props {
        default_generation_settings: GenerationSettings { n_ctx },
        total_slots: n_slots,
        model_path: short.clone(),
        model_alias: short,
        modalities: Modalities {
            vision: can(Capability::Vision),
            audio: can(Capability::Audio),
        },
        chat_template: shown.template,
        build_info: format!("drover {}", env!("CARGO_PKG_VERSION")),
    }))
}

pub(super) async fn slots(State(app): State<App>, access: Access, uri: Uri) -> Response {
    let wanted = ModelName::parse(&parameter(&uri, MODEL).unwrap_or_default()).ok();
    let mut slots = Vec::new();
    for loaded in app.scheduler.loaded().await {
        let is_other = wanted.as_ref().is_some_and(|wanted| *wanted != loaded.name);
        if is_other || !access.sees(&loaded.name) {
            continue;
        }
        let model = loaded.name.short();
        let n_busy = u32::try_from(loaded.n_active).unwrap_or(u32::MAX);
        slots.extend((0..loaded.info.n_slots).map(|id| Slot {
            id,
            model: model.clone(),
            n_ctx: loaded.context_length,
            is_processing: id < n_busy,
        }));
    }
    json(&slots)
}
