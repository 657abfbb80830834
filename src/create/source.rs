//! The source of the weights: a model of the store, or uploaded files.

use std::sync::Arc;

use super::detect;
use super::files::{self, Wanted};
use super::parts::Parts;
use super::{CreateError, CreateRequest};
use crate::error::ErrorKind;
use crate::families;
use crate::model::gguf::Metadata;
use crate::model::name::Source;
use crate::model::{Digest, ImageConfig, Layer, ModelName, manifest as media};
use crate::store::{Model, StoreError};

/// What a new model inherits besides layers.
#[derive(Debug, Default)]
pub(super) struct Base {
    pub(super) config: ImageConfig,
    pub(super) params: serde_json::Map<String, serde_json::Value>,
}

/// Collects the layers of the source, then adapters and draft.
pub(super) fn collect(parts: &mut Parts<'_>, request: &CreateRequest) -> Result<Base, CreateError> {
    let uploads = [&request.files, &request.adapters, &request.draft_files];
    for digest in uploads.into_iter().flat_map(|files| files.values()) {
        parts.pin(super::parse_digest(digest)?);
    }
    let from = request.from.as_deref().filter(|from| !from.is_empty());
    let base = match from {
        Some(from) => from_model(parts, from)?,
        None if request.files.is_empty() => {
            return Err(CreateError::bad("neither 'from' or 'files' was specified"));
        }
        None => {
            files::add(parts, &request.files, Wanted::Model)?;
            recognise(parts)?
        }
    };
    if !request.adapters.is_empty() {
        files::add(parts, &request.adapters, Wanted::Adapter)?;
    }
    if !request.draft_files.is_empty() {
        files::add(parts, &request.draft_files, Wanted::Draft)?;
    }
    if from.is_none() && parts.weights().next().is_none() {
        return Err(CreateError::bad("no base model was found"));
    }
    Ok(base)
}

/// Adds the TEMPLATE for a known chat template, with its stop texts.
fn recognise(parts: &mut Parts<'_>) -> Result<Base, CreateError> {
    let mut base = Base::default();
    let text = |header: &Metadata| Some(header.string("tokenizer.chat_template")?.to_owned());
    let texts: Vec<String> = parts.weights().filter_map(|(_, head)| text(head)).collect();
    for known in texts.iter().filter_map(|text| detect::nearest(text)) {
        parts.report(format!("using autodetected template {}", known.name));
        parts.remove(media::MEDIA_TEMPLATE);
        parts.append(media::MEDIA_TEMPLATE, known.template.as_bytes())?;
        base.params = serde_json::Map::from_iter([("stop".to_owned(), known.stop().into())]);
    }
    Ok(base)
}

fn from_model(parts: &mut Parts<'_>, from: &str) -> Result<Base, CreateError> {
    let (from, source) = ModelName::split_source(from).map_err(CreateError::bad)?;
    if source == Source::Cloud {
        return Err(CreateError {
            kind: ErrorKind::Forbidden,
            message: "ollama cloud is disabled: remote model is unavailable".to_owned(),
        });
    }
    let name = ModelName::parse(&from).map_err(|error| CreateError::bad(error.to_string()))?;
    let model = parts.store.model(&name).map_err(|error| match error {
        StoreError::NotFound(name) => CreateError {
            kind: ErrorKind::NotFound,
            message: format!("model '{name}' not found, try pulling it first"),
        },
        other => other.into(),
    })?;
    for layer in &model.manifest.layers {
        inherit(parts, &model, layer)?;
    }
    Ok(Base {
        params: model.params,
        config: model.config,
    })
}

fn inherit(parts: &mut Parts<'_>, model: &Model, layer: &Layer) -> Result<(), CreateError> {
    let digest: Digest = super::parse_digest(&layer.digest)?;
    parts.pin(digest);
    let mut taken = parts.store.existing_layer(&layer.media_type, &digest)?;
    taken.from = model.name.short();
    taken.name.clone_from(&layer.name);
    let header = (layer.media_type == media::MEDIA_MODEL)
        .then(|| brief(parts, &digest))
        .transpose()?;
    parts.push(taken, header);
    Ok(())
}

fn brief(parts: &Parts<'_>, digest: &Digest) -> Result<Arc<Metadata>, CreateError> {
    let path = parts.store.blob_path(digest);
    let header = parts
        .store
        .gguf(&path)
        .map_err(|error| CreateError::internal(format!("{digest}: {error}")))?;
    warn_of_layout(digest, &header);
    Ok(header)
}

/// Warns about a layout that only Ollama can load so far; creating such a model is allowed.
pub(super) fn warn_of_layout(digest: &Digest, header: &Metadata) {
    if let Some(reason) = families::refusal(header) {
        tracing::warn!(%digest, reason, "the new model cannot be loaded");
    }
}
