//! The config blob, from the weights, the base model and the request.

use serde_json::{Map, Value};

use super::parts::Parts;
use super::source::Base;
use super::{CreateError, CreateRequest};
use crate::families::{self, Format};
use crate::model::ImageConfig;
use crate::model::gguf::Metadata;
use crate::units::format_count;

/// Builds the config as Ollama does: a field that is already set stays.
pub(super) fn build(
    request: &CreateRequest,
    base: &Base,
    parts: &Parts<'_>,
) -> Result<ImageConfig, CreateError> {
    let inherited = &base.config;
    let first = |given: &String, inherited: &String| {
        if given.is_empty() { inherited } else { given }.clone()
    };
    let mut config = ImageConfig {
        model_format: inherited.model_format.clone(),
        renderer: first(&request.renderer, &inherited.renderer),
        parser: first(&request.parser, &inherited.parser),
        requires: first(&request.requires, &inherited.requires),
        capabilities: inherited.capabilities.clone(),
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        ..ImageConfig::default()
    };
    override_by(&mut config, &request.info)?;
    for (_, header) in parts.weights() {
        describe(&mut config, header);
    }
    let architecture = parts
        .weights()
        .next()
        .map(|(_, header)| header.architecture());
    if let Some(format) = architecture.and_then(built_in) {
        set_if_empty(&mut config.renderer, format.renderer);
        set_if_empty(&mut config.parser, format.parser);
    }
    Ok(config)
}

/// Whether the architecture decides about renderer and parser.
pub(super) fn takes_default_renderer(request: &CreateRequest, base: &Base) -> bool {
    let is_set = |given: &String, inherited: &String| !given.is_empty() || !inherited.is_empty();
    !(is_set(&request.renderer, &base.config.renderer)
        && is_set(&request.parser, &base.config.parser))
}

fn describe(config: &mut ImageConfig, header: &Metadata) {
    set_if_empty(&mut config.model_format, "gguf");
    set_if_empty(&mut config.model_family, header.architecture());
    set_if_empty(
        &mut config.model_type,
        &format_count(header.parameter_count()),
    );
    set_if_empty(&mut config.file_type, &header.file_type());
    config
        .model_families
        .get_or_insert_default()
        .push(header.architecture().to_owned());
}

/// The chat format of an architecture that needs built-in code.
pub(super) fn built_in(architecture: &str) -> Option<&'static Format> {
    families::architecture(architecture)?.format.as_ref()
}

/// Applies `info`, the request's overrides.
fn override_by(config: &mut ImageConfig, info: &Map<String, Value>) -> Result<(), CreateError> {
    if let Some(Value::Array(words)) = info.get("capabilities") {
        for word in words.iter().filter_map(Value::as_str) {
            if !config.capabilities.iter().any(|known| known == word) {
                config.capabilities.push(word.to_owned());
            }
        }
    }
    config.model_family = text(info, "model_family")?;
    config.base_name = text(info, "base_name")?;
    config.file_type = text(info, "quantization_level")?;
    config.model_type = text(info, "parameter_size")?;
    config.context_length = count(info, "context_length")?;
    config.embedding_length = count(info, "embedding_length")?;
    Ok(())
}

fn text(info: &Map<String, Value>, key: &str) -> Result<String, CreateError> {
    match info.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(CreateError::bad(format!(
            "info field \"{key}\" must be a string"
        ))),
    }
}

fn count(info: &Map<String, Value>, key: &str) -> Result<Option<u64>, CreateError> {
    let Some(value) = info.get(key).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let Some(number) = value.as_f64() else {
        return Err(CreateError::bad(format!(
            "info field \"{key}\" must be a number"
        )));
    };
    let whole = value.as_u64().or_else(|| format!("{number}").parse().ok());
    whole.map(Some).ok_or_else(|| {
        CreateError::bad(format!(
            "info field \"{key}\" must be a non-negative integer"
        ))
    })
}

fn set_if_empty(field: &mut String, value: &str) {
    if field.is_empty() {
        value.clone_into(field);
    }
}
