//! Finds and checks the model of a request: name, store, capabilities, options.
//!
//! The order of the checks is Ollama's: clients see the first error only.

use std::path::Path;
use std::sync::Arc;

use super::chat_format::ChatFormat;
use super::context::Context;
use super::error::{ErrorKind as Kind, RequestError, internal, invalid, mistaken};
use super::files::Weights;
use super::permit;
use super::types::RequestOptions;
use crate::families::layout::Loadable;
use crate::families::{self, capabilities};
use crate::metrics::account;
use crate::model::capability::Capability;
use crate::model::name::Source;
use crate::model::{ModelName, OptionPatch, Options, gguf};
use crate::store::{Model, StoreError};

/// The endpoint; error texts differ between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Chat,
    Generate,
    Embed,
    LegacyEmbeddings,
}

impl Route {
    /// As OpenTelemetry's conventions for generative AI call it.
    fn operation(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Generate => "text_completion",
            Self::Embed | Self::LegacyEmbeddings => "embeddings",
        }
    }
}

/// An existing model, with the metadata of its weights.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) model: Model,
    /// The header of the weights as it is in the file.
    pub(super) header: Arc<gguf::Metadata>,
    pub(super) weights: Weights,
    /// The projector, which is loaded beside the weights.
    pub(super) projector: Option<Loadable>,
    pub(super) capabilities: Vec<Capability>,
    pub(super) chat_format: Arc<ChatFormat>,
    pub(super) draft: Option<Weights>,
}

impl Prepared {
    pub(super) fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }

    pub(super) fn projector_bytes(&self) -> u64 {
        let projector = self.projector.as_ref();
        projector.map_or(0, |projector| projector.metadata.file_size)
    }
}

/// Finds the model of a request in the store.
pub(super) async fn find(
    context: &Context,
    common: &RequestOptions,
    route: Route,
) -> Result<Prepared, RequestError> {
    let requested = common.model.as_str();
    let name = parse_name(requested, route)?;
    permit::check(context, &common.client, &name)?;
    let context = context.clone();
    let turn = context.store.turn().await;
    let looked_up = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        look_up(&context, &name)
    })
    .await
    .map_err(|error| internal(error.to_string()))?;
    let found = looked_up.map_err(|error| store_error(&error, requested, route))?;
    let model = found.model;
    account::note(|facts| {
        facts.model = model.name.short();
        facts.operation = route.operation();
    });
    if !model.config.remote_host.is_empty() {
        return Err(cloud());
    }
    let refused = |what: &str, reason: String| {
        internal(format!("model `{}` {what}: {reason}", model.name.short()))
    };
    let read = match found.read {
        Some(Ok(read)) => read,
        Some(Err(Unusable::Unreadable(error))) => {
            return Err(refused("cannot be read", error.to_string()));
        }
        Some(Err(Unusable::NotLoadable(reason))) => {
            return Err(refused("cannot be loaded", reason));
        }
        None => {
            return Err(internal(format!(
                "model `{}` has no GGUF weights (safetensors models are not supported)",
                model.name.short()
            )));
        }
    };
    let capabilities = capabilities::detect(&capabilities::Sources {
        config: &model.config.capabilities,
        gguf: Some(&read.header),
        projector: read
            .projector
            .as_ref()
            .map(|projector| &*projector.metadata),
        has_projector: !model.projectors.is_empty(),
        family: &model.config.model_family,
        uses_jinja: !read.format.path.is_rendered(),
        template: &read.format.template_capabilities(),
        parser: &read.format.parser_capabilities(),
    });
    Ok(Prepared {
        model,
        header: read.header,
        weights: read.weights,
        projector: read.projector,
        capabilities,
        chat_format: read.format,
        draft: found.draft,
    })
}

/// What the store has for a model.
struct Found {
    model: Model,
    /// What its files say; `None` = it has no weights.
    read: Option<Result<Read, Unusable>>,
    draft: Option<Weights>,
}

/// What the files of a model say.
struct Read {
    header: Arc<gguf::Metadata>,
    weights: Weights,
    projector: Option<Loadable>,
    format: Arc<ChatFormat>,
}

/// Why a model cannot be loaded.
enum Unusable {
    Unreadable(gguf::GgufError),
    NotLoadable(String),
}

/// Finds a model and reads its files. Blocks.
fn look_up(context: &Context, name: &ModelName) -> Result<Found, StoreError> {
    let model = context.store.model(name)?;
    let weights = model.weights.as_ref();
    Ok(Found {
        read: weights.map(|path| read(context, &model, path)),
        draft: draft(context, &model),
        model,
    })
}

fn read(context: &Context, model: &Model, path: &Path) -> Result<Read, Unusable> {
    let (store, files) = (&context.store, &context.files);
    let header = store.gguf(path).map_err(Unusable::Unreadable)?;
    if let Some(reason) = families::refusal(&header) {
        return Err(Unusable::NotLoadable(reason));
    }
    let weights = files.weights(store, path, &header);
    let weights = weights.map_err(|error| Unusable::NotLoadable(error.to_string()))?;
    let projector = files.projector(store, Some((path, &header)), &model.projectors);
    let projector =
        projector.map_err(|error| Unusable::NotLoadable(format!("its projector: {error}")))?;
    Ok(Read {
        format: context.formats.get(model, &header),
        header,
        weights,
        projector,
    })
}

/// Returns a model's draft model. A broken one is ignored: without it, answers are only slower.
fn draft(context: &Context, model: &Model) -> Option<Weights> {
    let path = model.draft.as_ref()?;
    let header = context.store.gguf(path);
    let draft = header.and_then(|header| context.files.weights(&context.store, path, &header));
    let name = model.name.short();
    draft
        .inspect_err(|error| {
            tracing::warn!(model = %name, %error, "the draft model cannot be used");
        })
        .ok()
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

/// Checks that the model can do what the route and the request need.
pub(super) fn check_capabilities(
    prepared: &Prepared,
    common: &RequestOptions,
    route: Route,
    wants: &[Capability],
) -> Result<(), RequestError> {
    let requested = &common.model;
    let thinks = prepared.has(Capability::Thinking);
    let must_think = common.think.is_some_and(|think| think.is_on()) && !common.thinks_if_able;
    if must_think && !thinks {
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

/// The least context of a vision model, as in Ollama: an image takes hundreds of tokens.
const VISION_CTX: u32 = 2048;

/// Merges built-in defaults, the model's parameters and the request's options.
pub(super) fn merge_options(
    prepared: &Prepared,
    common: &RequestOptions,
) -> Result<Options, RequestError> {
    let params = OptionPatch::parse(&prepared.model.params).map_err(mistaken)?;
    let mut options = Options::merge(&[&params, &common.options]);
    for unknown in [&params.unknown, &common.options.unknown] {
        if !unknown.is_empty() {
            tracing::warn!(model = %prepared.model.name.short(), options = ?unknown, "invalid option provided");
        }
    }
    if prepared.projector.is_some() {
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
