//! Which template a model speaks through, parsed once per model.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::prepare::{Prepared, internal};
use super::{InferenceError, InferenceErrorKind};
use crate::chat::{Message, Think, ToolDefinition};
use crate::renderer::{ChatTemplate, RenderInput};

/// Parsed templates by the path of the weights; blobs are named by content, so a path's template
/// never changes.
#[derive(Debug, Default)]
pub struct TemplateCache {
    parsed: Mutex<HashMap<PathBuf, Arc<ChatTemplate>>>,
}

/// Templates kept; beyond it the cache starts anew.
const MAX_CACHED: usize = 64;

impl TemplateCache {
    /// Returns the model's template.
    ///
    /// # Errors
    /// A model that speaks only through a Go template or a built-in renderer is refused (501),
    /// a broken Jinja template too (500).
    pub(super) fn get(&self, prepared: &Prepared) -> Result<Arc<ChatTemplate>, InferenceError> {
        let model = &prepared.model;
        let unsupported = |what: &str| {
            Err(InferenceError::new(
                InferenceErrorKind::Unsupported,
                format!(
                    "model '{}' needs {what}, which this version of drover cannot do yet; use generate with \"raw\": true, or a model whose GGUF file has a chat template",
                    model.name.short()
                ),
            ))
        };
        if !model.config.renderer.is_empty() {
            return unsupported(&format!(
                "the built-in renderer `{}`",
                model.config.renderer
            ));
        }
        let jinja = prepared.jinja();
        if jinja.is_none() && model.template.is_some() {
            return unsupported("its Go template (TEMPLATE)");
        }
        let key = model.weights.clone().unwrap_or_default();
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = parsed.get(&key) {
            return Ok(Arc::clone(template));
        }
        if model.template.is_some() {
            tracing::warn!(model = %model.name.short(), "the TEMPLATE of this model is ignored, its GGUF chat template is used");
        }
        let template = Arc::new(parse(prepared, jinja)?);
        if parsed.len() >= MAX_CACHED {
            parsed.clear();
        }
        parsed.insert(key, Arc::clone(&template));
        Ok(template)
    }
}

fn parse(prepared: &Prepared, jinja: Option<&str>) -> Result<ChatTemplate, InferenceError> {
    let Some(source) = jinja else {
        tracing::warn!(model = %prepared.model.name.short(), "the model has no chat template, ChatML is used");
        return ChatTemplate::chatml().map_err(|error| internal(error.to_string()));
    };
    let token = |key: &str| {
        let id = prepared
            .metadata
            .number(key)
            .and_then(|id| usize::try_from(id).ok());
        let tokens = prepared.metadata.get("tokenizer.ggml.tokens");
        let text = id.and_then(|id| tokens?.as_array()?.get(id)?.as_str());
        text.unwrap_or_default().to_owned()
    };
    let bos = token("tokenizer.ggml.bos_token_id");
    let eos = token("tokenizer.ggml.eos_token_id");
    ChatTemplate::parse(source, &bos, &eos)
        .map_err(|error| internal(format!("model '{}': {error}", prepared.model.name.short())))
}

/// Renders on the blocking pool: a long history can take milliseconds.
pub(super) async fn render(
    template: &Arc<ChatTemplate>,
    messages: &Arc<[Message]>,
    from: usize,
    extra: &Arc<Extra>,
) -> Result<String, InferenceError> {
    let (template, messages, extra) = (
        Arc::clone(template),
        Arc::clone(messages),
        Arc::clone(extra),
    );
    let rendered = tokio::task::spawn_blocking(move || {
        let kept = super::truncate::keep_from(&messages, from);
        let input = RenderInput {
            messages: &kept,
            tools: &extra.tools,
            think: extra.think,
            now: None,
        };
        template.render(&input)
    });
    match rendered.await {
        Ok(result) => result.map_err(|error| internal(error.to_string())),
        Err(error) => Err(internal(error.to_string())),
    }
}

/// What a rendering needs besides the messages.
#[derive(Debug, Default)]
pub(super) struct Extra {
    pub(super) tools: Vec<ToolDefinition>,
    pub(super) think: Option<Think>,
}
