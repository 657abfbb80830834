//! Generate: one prompt, rendered as a short chat or taken as it is.

use std::sync::Arc;
use std::time::Instant;

use super::answer::{AnswerSpec, engine_error, is_gone, params, single, start};
use super::chat::{Conversation, UNLOAD, think};
use super::prepare::{self, Prepared, Route, check_capabilities, invalid, merge_options};
use super::prompt::Extra;
use super::truncate::cut_tokens;
use super::types::{DoneReason, GenerateRequest};
use super::{ChunkStream, Inference, InferenceError, InferenceErrorKind, format};
use crate::chat::Message;
use crate::model::Options;
use crate::model::capability::Capability;
use crate::parser::Parser;
use crate::protocol::{Constraint, PromptPart};

/// Runs a generate request.
pub(super) async fn run(
    inference: &Inference,
    request: GenerateRequest,
) -> Result<ChunkStream, InferenceError> {
    let received = Instant::now();
    let prepared = prepare::find(inference, &request.common.model, Route::Generate).await?;
    if request.prompt.is_empty() && request.common.keep_alive == UNLOAD {
        inference
            .scheduler
            .unload(prepared.model.weights.clone().unwrap_or_default())
            .await;
        return Ok(single(DoneReason::Unload, None));
    }
    check(&prepared, &request)?;
    let mut options = merge_options(&prepared, &request.common)?;
    if options.num_predict == 0 {
        // As in Ollama's rendered path: zero means no limit here.
        options.num_predict = -1;
    }
    let constraint = format::parse(&request.common.format)?;
    if request.prompt.is_empty() {
        prepare::load(inference, &prepared, &options, request.common.keep_alive).await?;
        return Ok(single(DoneReason::Load, None));
    }
    let checked = Checked {
        options,
        constraint,
        received,
    };
    if request.raw {
        return Raw {
            request: &request,
            checked,
        }
        .answer(inference, &prepared)
        .await;
    }
    rendered(inference, &prepared, request, checked).await
}

/// What the checks of a request left behind.
struct Checked {
    options: Options,
    constraint: Option<Constraint>,
    /// When the request came in.
    received: Instant,
}

/// The checks 9 to 12 of §6.2.
fn check(prepared: &Prepared, request: &GenerateRequest) -> Result<(), InferenceError> {
    let has_template = request
        .template
        .as_ref()
        .is_some_and(|text| !text.is_empty());
    let has_system = request.system.as_ref().is_some_and(|text| !text.is_empty());
    if request.raw && (has_template || has_system || !request.context.is_empty()) {
        return Err(invalid(
            "raw mode does not support template, system, or context",
        ));
    }
    let wants: &[Capability] = if request.suffix.is_empty() {
        &[]
    } else {
        &[Capability::Insert]
    };
    check_capabilities(prepared, &request.common, Route::Generate, wants)?;
    if !request.images.is_empty() && !prepared.has(Capability::Vision) {
        return Err(invalid(format!(
            "{} does not support vision",
            prepared.model.name
        )));
    }
    if has_template && !request.prompt.is_empty() {
        return Err(InferenceError::new(
            InferenceErrorKind::Unsupported,
            "this version of drover cannot render Go templates yet, so a request's `template` is refused; send the finished prompt with \"raw\": true",
        ));
    }
    Ok(())
}

/// The prompt as a short chat: system text, the model's own messages, one user message.
async fn rendered(
    inference: &Inference,
    prepared: &Prepared,
    request: GenerateRequest,
    checked: Checked,
) -> Result<ChunkStream, InferenceError> {
    let Checked {
        options,
        constraint,
        received,
    } = checked;
    let mut messages = Vec::new();
    let system = request.system.filter(|text| !text.is_empty());
    if let Some(text) = system.or_else(|| prepared.model.system.clone()) {
        messages.push(Message::text("system", text));
    }
    if request.context.is_empty() {
        messages.extend(prepared.model.messages.iter().cloned());
    }
    let user = Message {
        images: request.images,
        ..Message::text("user", request.prompt)
    };
    messages.push(user);
    let conversation = Conversation {
        template: inference.templates.get(prepared)?,
        messages: messages.into(),
        extra: Arc::new(Extra {
            think: think(prepared, request.common.think, constraint.as_ref()),
            tools: Vec::new(),
        }),
        common: request.common,
        options,
        constraint,
        received,
        context: request.context,
        text_for_context: true,
    };
    conversation.answer(inference, prepared).await
}

/// A prompt that goes to the model untouched.
struct Raw<'a> {
    request: &'a GenerateRequest,
    checked: Checked,
}

impl Raw<'_> {
    async fn answer(
        &self,
        inference: &Inference,
        prepared: &Prepared,
    ) -> Result<ChunkStream, InferenceError> {
        match self.try_answer(inference, prepared).await {
            Err(error) if is_gone(&error) => self.try_answer(inference, prepared).await,
            result => result,
        }
    }

    async fn try_answer(
        &self,
        inference: &Inference,
        prepared: &Prepared,
    ) -> Result<ChunkStream, InferenceError> {
        let common = &self.request.common;
        let options = &self.checked.options;
        let loaded = prepare::load(inference, prepared, options, common.keep_alive).await?;
        let n_ctx = loaded.lease.n_ctx(options.num_ctx);
        let text = &self.request.prompt;
        if common.debug_render_only {
            return Ok(single(
                DoneReason::Debug,
                Some((text.clone(), self.request.images.len())),
            ));
        }
        let mut prompt = PromptPart::Text(text.clone());
        let mut truncated = false;
        if text.len() >= n_ctx as usize && common.truncate != Some(false) {
            let tokens = loaded
                .lease
                .runner()
                .tokenize(vec![text.clone()], true, true)
                .await;
            let tokens = tokens
                .map_err(|error| engine_error(&error))?
                .pop()
                .unwrap_or_default();
            let n_bos = i32::from(loaded.lease.info().add_bos);
            let n_keep = if options.num_keep < 0 {
                -1
            } else {
                options.num_keep.saturating_add(n_bos)
            };
            if let Some(cut) = cut_tokens(&tokens, n_ctx, n_keep) {
                if common.shift == Some(false) {
                    return Err(invalid(TOO_LONG));
                }
                tracing::warn!(
                    n_prompt = tokens.len(),
                    n_kept = cut.len(),
                    n_ctx,
                    "the prompt was cut to fit the context"
                );
                prompt = PromptPart::Tokens(cut);
                truncated = true;
            }
        }
        let is_text = !truncated;
        let mut params = params(
            common,
            options,
            n_ctx,
            vec![prompt],
            self.checked.constraint.clone(),
        );
        params.add_special = is_text;
        let spec = AnswerSpec {
            params,
            parser: Parser::Passthrough,
            context_of: None,
            truncated,
            received: self.checked.received,
        };
        start(loaded, spec).await
    }
}

/// Ollama's words for a prompt that cannot be cut.
const TOO_LONG: &str = "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the context length in settings, or use a model with a longer context length";
