//! From a request to a model that can be loaded: name, store, capabilities, options.
//!
//! The order of the checks is Ollama's: clients see the first error only.

use std::path::PathBuf;
use std::sync::Arc;

use super::chat_format::{ChatFormat, ChatFormats};
use super::context::Context;
use super::error::{ErrorKind as Kind, RequestError, internal, invalid, mistaken};
use super::types::RequestOptions;
use crate::families::{self, capabilities};
use crate::model::capability::Capability;
use crate::model::name::Source;
use crate::model::{ModelName, Options, gguf};
use crate::store::{Model, Store, StoreError};

/// Which endpoint asks; their texts differ.
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
    pub(super) header: Header,
    pub(super) capabilities: Vec<Capability>,
    pub(super) chat_format: Arc<ChatFormat>,
    /// Size of the projector, which is loaded beside the weights.
    pub(super) projector_bytes: u64,
    /// The file of the draft model.
    pub(super) draft: Option<(PathBuf, Header)>,
}

/// What a file of weights says about itself, with numbers that can be relied on.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) metadata: Arc<gguf::Metadata>,
    pub(super) numbers: gguf::Hyperparameters,
}

impl Header {
    pub(super) fn new(metadata: Arc<gguf::Metadata>) -> Result<Self, gguf::GgufError> {
        let numbers = gguf::Hyperparameters::read(&metadata)?;
        Ok(Self { metadata, numbers })
    }
}

impl Prepared {
    pub(super) fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// Finds the model of a request in the store.
pub(super) async fn find(
    context: &Context,
    requested: &str,
    route: Route,
) -> Result<Prepared, RequestError> {
    let name = parse_name(requested, route)?;
    let store = context.store.clone();
    let formats = Arc::clone(&context.formats);
    let turn = store.turn().await;
    let looked_up = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        look_up(&store, &formats, &name)
    })
    .await
    .map_err(|error| internal(error.to_string()))?;
    let found = looked_up.map_err(|error| store_error(&error, requested, route))?;
    let model = found.model;
    if !model.config.remote_host.is_empty() {
        return Err(cloud());
    }
    let refused = |what: &str, reason: String| {
        internal(format!("model `{}` {what}: {reason}", model.name.short()))
    };
    let (metadata, format) = match found.weights {
        Some(Ok(weights)) => weights,
        Some(Err(error)) => return Err(refused("cannot be read", error.to_string())),
        None => {
            return Err(internal(format!(
                "model `{}` has no GGUF weights (safetensors models are not supported)",
                model.name.short()
            )));
        }
    };
    let not_loadable = |reason: String| refused("cannot be loaded", reason);
    if let Some(reason) = families::refusal(&metadata) {
        return Err(not_loadable(reason));
    }
    let header = Header::new(metadata).map_err(|error| not_loadable(error.to_string()))?;
    if let Some(projector) = &found.projector {
        gguf::check_projector(projector)
            .map_err(|error| not_loadable(format!("its projector: {error}")))?;
    }
    let capabilities = capabilities::detect(&capabilities::Sources {
        config: &model.config.capabilities,
        gguf: Some(&header.metadata),
        projector: found.projector.as_deref(),
        has_projector: !model.projectors.is_empty(),
        family: &model.config.model_family,
        uses_jinja: !format.path.is_rendered(),
        template: &format.template_capabilities(),
        parser: &format.parser_capabilities(),
    });
    Ok(Prepared {
        model,
        header,
        capabilities,
        chat_format: format,
        projector_bytes: found.projector.map_or(0, |header| header.file_size),
        draft: found.draft,
    })
}

/// The header of a file of weights, and how the model is spoken to.
type Weights = (Arc<gguf::Metadata>, Arc<ChatFormat>);

/// What the store has of a model.
struct Found {
    model: Model,
    weights: Option<Result<Weights, gguf::GgufError>>,
    /// The header of the first projector, if it can be read.
    projector: Option<Arc<gguf::Metadata>>,
    draft: Option<(PathBuf, Header)>,
}

/// Reads a model's files. Blocks.
fn look_up(store: &Store, formats: &ChatFormats, name: &ModelName) -> Result<Found, StoreError> {
    let model = store.model(name)?;
    let weights = model.weights.as_ref().map(|path| {
        let header = store.gguf_to_load(path)?;
        let format = formats.get(&model, &header);
        Ok((header, format))
    });
    let projector = model.projectors.first();
    Ok(Found {
        projector: projector.and_then(|path| store.gguf(path).ok()),
        draft: draft(store, &model),
        weights,
        model,
    })
}

/// The draft model of a model. Without it answers only come slower, so that a broken one is left out.
fn draft(store: &Store, model: &Model) -> Option<(PathBuf, Header)> {
    let path = model.draft.as_ref()?;
    match store.gguf_to_load(path).and_then(Header::new) {
        Ok(header) => Some((path.clone(), header)),
        Err(error) => {
            let name = model.name.short();
            tracing::warn!(model = %name, %error, "the draft model cannot be used");
            None
        }
    }
}

fn parse_name(requested: &str, route: Route) -> Result<ModelName, RequestError> {
    if requested.is_empty() {
        return Err(match route {
            Route::Chat | Route::LegacyEmbeddings => {
                invalid("model is required").about("model", "missing_required_parameter")
            }
            Route::Generate | Route::Embed => {
                RequestError::new(Kind::NotFound, "model '' not found")
                    .about("model", "model_not_found")
            }
        });
    }
    let (rest, source) = ModelName::split_source(requested).map_err(invalid)?;
    if source == Source::Cloud {
        return Err(cloud());
    }
    ModelName::parse(&rest)
        .map_err(|error| invalid(error.to_string()).about("model", "invalid_value"))
}

fn store_error(error: &StoreError, requested: &str, route: Route) -> RequestError {
    match error {
        StoreError::NotFound(_) => RequestError::new(
            Kind::NotFound,
            match route {
                Route::Chat | Route::Generate => format!("model '{requested}' not found"),
                Route::Embed | Route::LegacyEmbeddings => {
                    format!("model \"{requested}\" not found, try pulling it first")
                }
            },
        )
        .about("model", "model_not_found"),
        other => internal(other.to_string()),
    }
}

/// Checks that the model can do what the route and the request want.
pub(super) fn check_capabilities(
    prepared: &Prepared,
    common: &RequestOptions,
    route: Route,
    wants: &[Capability],
) -> Result<(), RequestError> {
    let requested = &common.model;
    let thinks = prepared.has(Capability::Thinking);
    if common.think.is_some_and(|think| think.is_on()) && !thinks {
        let error = invalid(format!("\"{requested}\" does not support thinking"));
        return Err(error.about("reasoning_effort", "unsupported_value"));
    }
    if !prepared.has(Capability::Completion) {
        let verb = if route == Route::Chat {
            "chat"
        } else {
            "generate"
        };
        let error = invalid(format!("\"{requested}\" does not support {verb}"));
        return Err(error.about("model", "unsupported_value"));
    }
    let missing: Vec<&str> = wants
        .iter()
        .filter(|capability| !prepared.has(**capability))
        .map(|capability| capability.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} does not support {}",
        prepared.model.name,
        missing.join("\n")
    );
    let field = if missing.contains(&Capability::Insert.as_str()) {
        "suffix"
    } else {
        "tools"
    };
    Err(invalid(message).about(field, "unsupported_value"))
}

/// The least context of a model that sees, as in Ollama: an image takes hundreds of tokens.
const VISION_CTX: u32 = 2048;

/// Merges built-in defaults, the model's parameters and the request's options.
pub(super) fn merge_options(
    prepared: &Prepared,
    common: &RequestOptions,
) -> Result<Options, RequestError> {
    let (mut options, unknown) =
        Options::merge(&[&prepared.model.params, &common.options]).map_err(mistaken)?;
    if !unknown.is_empty() {
        tracing::warn!(model = %prepared.model.name.short(), options = ?unknown, "invalid option provided");
    }
    if !prepared.model.projectors.is_empty() {
        options.num_ctx = options.num_ctx.map(|n_ctx| n_ctx.max(VISION_CTX));
    }
    Ok(options)
}

fn cloud() -> RequestError {
    RequestError::new(
        Kind::Forbidden,
        "ollama cloud is disabled: remote model is unavailable",
    )
}
