//! From a request to a loaded model: name, store, capabilities, options, lease.
//!
//! The order of the checks is the reference's (API specification §6.2): clients see the first
//! error only.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::voice::Voice;
use super::{Inference, InferenceError, InferenceErrorKind as Kind, RequestOptions, spec};
use crate::config::KeepAlive;
use crate::model::capability::{self, Capability};
use crate::model::name::Source;
use crate::model::{ModelName, Options, gguf};
use crate::scheduler::{AcquireError, Lease};
use crate::store::{Model, Store, StoreError};

/// Which endpoint asks; their texts differ (API specification §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Chat,
    Generate,
    Embed,
    LegacyEmbeddings,
}

/// A model that exists, with what its weights say about themselves.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) model: Model,
    pub(super) metadata: Arc<gguf::Metadata>,
    pub(super) capabilities: Vec<Capability>,
    pub(super) voice: Arc<Voice>,
    /// Size of the projector, which is loaded beside the weights.
    pub(super) projector_bytes: u64,
    /// The file of the draft model.
    pub(super) draft: Option<(PathBuf, Arc<gguf::Metadata>)>,
}

impl Prepared {
    pub(super) fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// Finds the model of a request in the store.
pub(super) async fn find(
    inference: &Inference,
    requested: &str,
    route: Route,
) -> Result<Prepared, InferenceError> {
    let name = parse_name(requested, route)?;
    let store = inference.store.clone();
    let voices = Arc::clone(&inference.voices);
    let looked_up = tokio::task::spawn_blocking(move || {
        let model = store.model(&name)?;
        let weights = model.weights.as_ref();
        let metadata = weights.map(|path| (store.gguf(path), path.clone()));
        let header = metadata
            .as_ref()
            .and_then(|(header, _)| header.as_ref().ok());
        let voice = header.map(|header| voices.get(&model, header));
        let projector = model
            .projectors
            .first()
            .and_then(|path| store.gguf(path).ok());
        let draft = draft(&store, &model);
        Ok::<_, StoreError>((model, metadata, projector, draft, voice))
    })
    .await
    .map_err(|error| internal(error.to_string()))?;
    let (model, metadata, projector, draft, voice) =
        looked_up.map_err(|error| store_error(&error, requested, route))?;
    if !model.config.remote_host.is_empty() {
        return Err(cloud());
    }
    let (metadata, voice) = match (metadata, voice) {
        (Some((Ok(metadata), _)), Some(voice)) => (metadata, voice),
        (Some((Err(error), path)), _) => {
            return Err(internal(format!(
                "model `{}`: {}: {error}",
                model.name.short(),
                path.display()
            )));
        }
        _ => {
            return Err(internal(format!(
                "model `{}` has no GGUF weights (safetensors models are not supported)",
                model.name.short()
            )));
        }
    };
    if let Some(reason) = gguf::compat::refusal(&metadata) {
        return Err(internal(format!(
            "model `{}` cannot be loaded: {reason}",
            model.name.short()
        )));
    }
    let capabilities = capability::detect(&capability::Sources {
        config: &model.config.capabilities,
        gguf: Some(&metadata),
        projector: projector.as_deref(),
        has_projector: !model.projectors.is_empty(),
        family: &model.config.model_family,
        uses_jinja: !voice.path.is_rendered(),
        template: &voice.template_capabilities(),
        parser: &voice.parser_capabilities(),
    });
    Ok(Prepared {
        model,
        metadata,
        capabilities,
        voice,
        projector_bytes: projector.map_or(0, |header| header.file_size),
        draft,
    })
}

/// The draft model of a model. Without it answers only come slower, so that a broken one is left out.
fn draft(store: &Store, model: &Model) -> Option<(PathBuf, Arc<gguf::Metadata>)> {
    let path = model.draft.as_ref()?;
    match store.gguf(path) {
        Ok(metadata) => Some((path.clone(), metadata)),
        Err(error) => {
            let name = model.name.short();
            tracing::warn!(model = %name, %error, "the draft model cannot be read and is not used");
            None
        }
    }
}

fn parse_name(requested: &str, route: Route) -> Result<ModelName, InferenceError> {
    if requested.is_empty() {
        return Err(match route {
            Route::Chat | Route::LegacyEmbeddings => invalid("model is required"),
            Route::Generate | Route::Embed => {
                InferenceError::new(Kind::NotFound, "model '' not found")
            }
        });
    }
    let (rest, source) = ModelName::split_source(requested).map_err(invalid)?;
    if source == Source::Cloud {
        return Err(cloud());
    }
    ModelName::parse(&rest).map_err(|error| invalid(error.to_string()))
}

fn store_error(error: &StoreError, requested: &str, route: Route) -> InferenceError {
    match error {
        StoreError::NotFound(_) => InferenceError::new(
            Kind::NotFound,
            match route {
                Route::Chat | Route::Generate => format!("model '{requested}' not found"),
                Route::Embed | Route::LegacyEmbeddings => {
                    format!("model \"{requested}\" not found, try pulling it first")
                }
            },
        ),
        other => internal(other.to_string()),
    }
}

/// Checks that the model can do what the route and the request want.
pub(super) fn check_capabilities(
    prepared: &Prepared,
    common: &RequestOptions,
    route: Route,
    wants: &[Capability],
) -> Result<(), InferenceError> {
    let requested = &common.model;
    let thinks = prepared.has(Capability::Thinking);
    if common.think.is_some_and(|think| think.is_on()) && !thinks {
        return Err(invalid(format!(
            "\"{requested}\" does not support thinking"
        )));
    }
    if !prepared.has(Capability::Completion) {
        let verb = if route == Route::Chat {
            "chat"
        } else {
            "generate"
        };
        return Err(invalid(format!("\"{requested}\" does not support {verb}")));
    }
    let missing: Vec<&str> = wants
        .iter()
        .filter(|capability| !prepared.has(**capability))
        .map(|capability| capability.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(invalid(format!(
        "{} does not support {}",
        prepared.model.name,
        missing.join("\n")
    )))
}

/// The least context of a model that sees, as in Ollama: an image takes hundreds of tokens.
const VISION_CTX: u32 = 2048;

/// Merges built-in defaults, the model's parameters and the request's options.
pub(super) fn merge_options(
    prepared: &Prepared,
    common: &RequestOptions,
) -> Result<Options, InferenceError> {
    let (mut options, unknown) =
        Options::merge(&[&prepared.model.params, &common.options]).map_err(internal)?;
    if !unknown.is_empty() {
        tracing::warn!(model = %prepared.model.name.short(), options = ?unknown, "invalid option provided");
    }
    if !prepared.model.projectors.is_empty() {
        options.num_ctx = options.num_ctx.map(|n_ctx| n_ctx.max(VISION_CTX));
    }
    Ok(options)
}

/// A lease and how long it took to get.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) lease: Lease,
    pub(super) load: Duration,
}

/// Waits until the model is loaded.
pub(super) async fn load(
    inference: &Inference,
    prepared: &Prepared,
    options: &Options,
    keep_alive: Option<KeepAlive>,
) -> Result<Loaded, InferenceError> {
    let started = Instant::now();
    let spec = spec::build(prepared, options);
    let lease = inference
        .scheduler
        .acquire(spec, keep_alive)
        .await
        .map_err(acquire_error)?;
    Ok(Loaded {
        lease,
        load: started.elapsed(),
    })
}

fn acquire_error(error: AcquireError) -> InferenceError {
    let kind = match &error {
        AcquireError::Overloaded | AcquireError::ShuttingDown => Kind::Overloaded,
        AcquireError::Canceled => Kind::Canceled,
        AcquireError::LoadFailed(_) | AcquireError::LoadTimeout(_) => Kind::Internal,
    };
    InferenceError::new(kind, error.to_string())
}

pub(super) fn invalid(message: impl Into<String>) -> InferenceError {
    InferenceError::new(Kind::Invalid, message)
}

pub(super) fn internal(message: impl Into<String>) -> InferenceError {
    InferenceError::new(Kind::Internal, message)
}

fn cloud() -> InferenceError {
    InferenceError::new(
        Kind::Forbidden,
        "ollama cloud is disabled: remote model is unavailable",
    )
}
