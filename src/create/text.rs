//! The small layers: template, system text, licenses, parameters, messages; in Ollama's order.

use serde_json::{Map, Value, json};

use super::parts::{Parts, to_json};
use super::source::Base;
use super::{CreateError, CreateRequest, config};
use crate::json::go as go_json;
use crate::model::{ImageConfig, OptionPatch, manifest as media};
use crate::template::Template;

/// Adds or replaces the layers that a request names; other layers are inherited.
pub(super) fn apply(
    parts: &mut Parts<'_>,
    request: &CreateRequest,
    base: &Base,
) -> Result<(), CreateError> {
    if !request.template.is_empty() {
        // Fail now instead of at every later request.
        if let Err(error) = Template::parse(&request.template) {
            return Err(CreateError::bad(format!("template error: {error}")));
        }
        parts.remove(media::MEDIA_TEMPLATE);
        parts.remove(media::MEDIA_PROMPT);
        parts.append(media::MEDIA_TEMPLATE, request.template.as_bytes())?;
    }
    // An empty text keeps the inherited one, as in Ollama.
    if !request.system.is_empty() {
        parts.remove(media::MEDIA_SYSTEM);
        parts.append(media::MEDIA_SYSTEM, request.system.as_bytes())?;
    }
    for license in request.licenses.iter().filter(|text| !text.is_empty()) {
        parts.append(media::MEDIA_LICENSE, license.as_bytes())?;
    }
    params(parts, request, base)?;
    if !request.messages.is_empty() {
        parts.remove(media::MEDIA_MESSAGES);
        parts.append(media::MEDIA_MESSAGES, &to_json(&request.messages)?)?;
    }
    Ok(())
}

/// Whether the model has no chat format: no TEMPLATE, no renderer or parser, no chat template in its file.
/// (Embedding models need none.)
pub(super) fn is_untaught(parts: &Parts<'_>, config: &ImageConfig) -> bool {
    let is_named = !config.renderer.is_empty() || !config.parser.is_empty();
    let has_template = parts.has(media::MEDIA_TEMPLATE) || parts.has(media::MEDIA_PROMPT);
    let Some((_, header)) = parts.weights().last() else {
        return false;
    };
    let jinja = header.string("tokenizer.chat_template").unwrap_or_default();
    let embeds = header.number(".pooling_type").is_some();
    !is_named && !has_template && jinja.is_empty() && !embeds
}

/// One layer with the inherited parameters, overridden by the given ones.
fn params(parts: &mut Parts<'_>, request: &CreateRequest, base: &Base) -> Result<(), CreateError> {
    let mut params = base.params.clone();
    params.extend(request.parameters.clone());
    let first = parts.weights().next();
    let format = first.and_then(|(_, header)| config::built_in(header.architecture()));
    if let Some(format) = format
        && !format.stop.is_empty()
        && config::takes_default_renderer(request, base)
    {
        params.entry("stop").or_insert_with(|| json!(format.stop));
    }
    // Fail now instead of at every later request.
    check(&request.parameters)?;
    if params.is_empty() {
        return Ok(());
    }
    parts.remove(media::MEDIA_PARAMS);
    parts.append(media::MEDIA_PARAMS, &to_json(&go_json::sorted(&params))?)
}

fn check(parameters: &Map<String, Value>) -> Result<(), CreateError> {
    let patch = OptionPatch::parse(parameters).map_err(CreateError::bad)?;
    for name in patch.unknown {
        tracing::warn!(name, "invalid option provided");
    }
    Ok(())
}
