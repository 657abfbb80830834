//! Makes the responses of `tags`, `show` and `ps` from stored and loaded models.

use std::path::{self, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::fit;
use super::info::KeyValues;
use crate::api::ollama as api;
use crate::chat::ThinkLevel;
use crate::families;
use crate::families::capabilities::{self, Sources};
use crate::model::capability::Capability;
use crate::model::gguf::Metadata;
use crate::model::manifest::MEDIA_MODEL;
use crate::model::modelfile::{Shown, parameters_text};
use crate::model::{ImageConfig, Manifest};
use crate::renderer::GoTemplate;
use crate::renderer::go::PROMPT_ALONE;
use crate::renderer::select::{Offer, Path};
use crate::scheduler::LoadedModel;
use crate::store::{ListedModel, Model};
use crate::units::{format_count, rfc3339_local};

/// "Forever" is a date about 292 years ahead, as Go's longest duration is.
const FOREVER_NANOS: i64 = i64::MAX;

/// The headers of a model's files that could be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files<'a> {
    pub weights: Option<&'a Arc<Metadata>>,
    /// The first projector.
    pub projector: Option<&'a Arc<Metadata>>,
    /// Whether there is a projector, even if it cannot be read.
    pub has_projector: bool,
    /// The TEMPLATE, if it is usable.
    pub template: Option<&'a GoTemplate>,
    /// `OLLAMA_GO_TEMPLATE`.
    pub wants_template: Option<bool>,
}

/// Makes one entry of `tags`.
pub fn listed(model: &ListedModel, files: &Files<'_>) -> api::ListedModel {
    let number = |key| files.weights.and_then(|weights| weights.number(key));
    let config = &model.config;
    api::ListedModel {
        name: model.name.short(),
        model: model.name.short(),
        remote_model: config.remote_model.clone(),
        remote_host: config.remote_host.clone(),
        modified_at: rfc3339_local(model.modified),
        size: model.size,
        digest: model.digest.clone(),
        details: api::ModelDetails {
            context_length: number(".context_length").or(config.context_length),
            embedding_length: number(".embedding_length").or(config.embedding_length),
            parent_model: parent(&model.manifest),
            ..details(config, files.weights)
        },
        capabilities: capabilities(config, files),
    }
}

/// Makes one entry of `ps`; `config` is absent if the model was deleted meanwhile.
pub fn loaded(
    model: &LoadedModel,
    config: Option<&ImageConfig>,
    now: Timestamp,
) -> api::ProcessModel {
    let forever = jiff::SignedDuration::from_nanos(FOREVER_NANOS);
    let expires = model
        .expires_at
        .or_else(|| now.checked_add(forever).ok())
        .unwrap_or(Timestamp::MAX);
    api::ProcessModel {
        name: model.name.short(),
        model: model.name.short(),
        size: model.info.size_bytes,
        digest: model.digest.clone(),
        details: config
            .map(|config| details(config, None))
            .unwrap_or_default(),
        expires_at: rfc3339_local(expires),
        size_vram: model.info.vram_bytes,
        context_length: model.context_length.into(),
        slots: model.info.n_slots,
        slots_busy: u32::try_from(model.n_active).unwrap_or(u32::MAX),
        memory: model.info.memory.0.iter().map(fit::usage).collect(),
    }
}

/// Makes the response of `show`.
pub fn show(
    model: &Model,
    files: &Files<'_>,
    request: &api::ShowRequest,
) -> api::ShowResponse<KeyValues> {
    let system = if request.system.is_empty() {
        model.system.clone().unwrap_or_default()
    } else {
        request.system.clone()
    };
    // Shows the template that is used, since clients infer the model's capabilities from it.
    let jinja = jinja(files);
    let template = match (offer(&model.config, files).path(), &model.template) {
        (Path::Jinja, _) => jinja,
        (Path::Parser, None) if !jinja.is_empty() => jinja,
        (_, template) => template.as_deref().unwrap_or(PROMPT_ALONE),
    };
    let info = |header: Option<&Arc<Metadata>>| KeyValues::new(header.cloned(), request.verbose);
    api::ShowResponse {
        license: model.licenses.join("\n"),
        modelfile: modelfile(model, &system, &request.options),
        parameters: parameters_text(&model.params),
        template: template.to_owned(),
        system,
        renderer: model.config.renderer.clone(),
        parser: model.config.parser.clone(),
        details: api::ModelDetails {
            parent_model: parent(&model.manifest),
            ..details(&model.config, files.weights)
        },
        messages: model.messages.clone(),
        remote_model: model.config.remote_model.clone(),
        remote_host: model.config.remote_host.clone(),
        model_info: info(files.weights),
        projector_info: info(files.projector),
        tensors: files
            .weights
            .map_or_else(Vec::new, |header| tensors(header)),
        thinking: thinking(&model.config, files),
        capabilities: capabilities(&model.config, files),
        modified_at: rfc3339_local(model.modified),
        requires: model.config.requires.clone(),
        fit: None,
    }
}

fn details(config: &ImageConfig, weights: Option<&Arc<Metadata>>) -> api::ModelDetails {
    let quantization = match config.file_type.as_str() {
        "" | "unknown" => weights.map(|weights| weights.file_type()),
        _ => None,
    };
    let size = weights.filter(|_| config.model_type.is_empty());
    api::ModelDetails {
        format: config.model_format.clone(),
        family: config.model_family.clone(),
        families: config.model_families.clone(),
        parameter_size: size.map_or_else(
            || config.model_type.clone(),
            |weights| format_count(weights.parameter_count()),
        ),
        quantization_level: quantization.unwrap_or_else(|| config.file_type.clone()),
        ..api::ModelDetails::default()
    }
}

/// The GGUF's chat template; empty = none.
fn jinja<'a>(files: &Files<'a>) -> &'a str {
    let text = |weights: &'a Arc<Metadata>| weights.string("tokenizer.chat_template");
    files.weights.and_then(text).unwrap_or_default()
}

fn offer<'a>(config: &'a ImageConfig, files: &Files<'a>) -> Offer<'a> {
    let family_parser = files.template.and_then(|template| {
        families::parser_for_template(&config.model_family, template.source())
    });
    Offer {
        template: files.template,
        jinja: jinja(files),
        renderer: &config.renderer,
        parser: &config.parser,
        has_family_parser: family_parser.is_some(),
        wants_template: files.wants_template,
    }
}

fn capabilities(config: &ImageConfig, files: &Files<'_>) -> Vec<String> {
    let offer = offer(config, files);
    let parser =
        families::parser(&config.parser).map_or(Vec::new(), families::BuiltinParser::capabilities);
    let found = capabilities::detect(&Sources {
        config: &config.capabilities,
        gguf: files.weights.map(Arc::as_ref),
        projector: files.projector.map(Arc::as_ref),
        has_projector: files.has_projector,
        family: &config.model_family,
        uses_jinja: !offer.path().is_rendered(),
        template: &offer.template_capabilities(),
        parser: &parser,
    });
    found
        .into_iter()
        .map(|capability| capability.as_str().to_owned())
        .collect()
}

/// The values of `think`: levels for a model that always thinks, else on or off. `None` = it does not think.
fn thinking(config: &ImageConfig, files: &Files<'_>) -> Option<api::ThinkingInfo> {
    if !capabilities(config, files)
        .iter()
        .any(|name| name == Capability::Thinking.as_str())
    {
        return None;
    }
    let of_template = || {
        let template = files.template?;
        families::parser_for_template(&config.model_family, template.source())
    };
    let parser = families::parser(&config.parser).or_else(of_template);
    let levels = parser.map_or(&[][..], |parser| parser.levels);
    if levels.is_empty() {
        return Some(api::ThinkingInfo {
            values: vec![false.into(), true.into()],
            default: true.into(),
        });
    }
    Some(api::ThinkingInfo {
        values: levels.iter().map(|level| level.as_str().into()).collect(),
        default: ThinkLevel::Medium.as_str().into(),
    })
}

/// The name of the model that this one was made from.
fn parent(manifest: &Manifest) -> String {
    let mut layers = manifest.layers.iter();
    layers
        .find(|layer| layer.media_type == MEDIA_MODEL)
        .map(|layer| layer.from.clone())
        .unwrap_or_default()
}

fn modelfile(model: &Model, system: &str, options: &Map<String, Value>) -> String {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let texts = |paths: &[PathBuf]| paths.iter().map(text).collect::<Vec<_>>();
    let mut parameters = model.params.clone();
    parameters.extend(options.clone());
    let weights = model.weights.as_deref().map(path::Path::to_string_lossy);
    let draft = model.draft.as_deref().map(path::Path::to_string_lossy);
    let shown = Shown {
        name: &model.name.short(),
        weights: weights.as_deref(),
        adapters: &texts(&model.adapters),
        draft: draft.as_deref(),
        projectors: &texts(&model.projectors),
        template: model.template.as_deref(),
        system: (!system.is_empty()).then_some(system),
        renderer: &model.config.renderer,
        parser: &model.config.parser,
        requires: &model.config.requires,
        parameters: &parameters,
        licenses: &model.licenses,
        messages: &model.messages,
    };
    shown.modelfile()
}

fn tensors(header: &Metadata) -> Vec<api::Tensor> {
    header
        .tensors
        .iter()
        .map(|tensor| api::Tensor {
            name: tensor.name.clone(),
            kind: tensor.kind.to_owned(),
            shape: tensor.shape.clone(),
        })
        .collect()
}
