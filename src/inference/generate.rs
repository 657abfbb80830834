//! Generate: one prompt, rendered as a short chat or taken as it is.

use std::sync::Arc;
use std::time::Instant;

use super::answer::{AnswerSpec, Refusal, params, single, start};
use super::chat::{Conversation, UNLOAD, think};
use super::images::{self, Placeless};
use super::prepare::{self, Prepared, Route, check_capabilities, internal, invalid, merge_options};
use super::truncate::{Fitted, fit_text};
use super::types::{DoneReason, GenerateRequest};
use super::voice::{RenderRequest, Voice};
use super::{ChunkStream, Inference, InferenceError, format};
use crate::chat::Message;
use crate::model::Options;
use crate::model::capability::Capability;
use crate::parser::Passthrough;
use crate::protocol::Constraint;
use crate::renderer::go::PromptParts;
use crate::renderer::images::tagged;
use crate::renderer::{GoTemplate, RenderInput};

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
    images::check(prepared, !request.images.is_empty())
}

/// The prompt as a short chat: system text, the model's own messages, one user message. A template
/// in the request makes the prompt itself, and so does the model's for a text with a suffix.
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
    let think = think(prepared, request.common.think, constraint.as_ref());
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
        ..Message::text("user", request.prompt.clone())
    };
    messages.push(user);
    let direct = Direct {
        template: request.template.unwrap_or_default(),
        prompt: request.prompt,
        suffix: request.suffix,
    };
    let to_render = Arc::new(RenderRequest {
        messages,
        tools: Vec::new(),
        think,
    });
    let conversation = Conversation {
        rendered: direct.render(&prepared.voice, &to_render).await?,
        request: to_render,
        common: request.common,
        options,
        constraint,
        received,
        context: request.context,
        is_chat: false,
        must_call: false,
    };
    conversation.answer(inference, prepared).await
}

/// What makes a prompt without the model's renderer, and without cutting the history.
struct Direct {
    /// A template of the request, empty = none.
    template: String,
    prompt: String,
    suffix: String,
}

impl Direct {
    /// `None` = neither a template nor a suffix was sent.
    async fn render(
        self,
        voice: &Arc<Voice>,
        request: &Arc<RenderRequest>,
    ) -> Result<Option<String>, InferenceError> {
        if self.template.is_empty() && self.suffix.is_empty() {
            return Ok(None);
        }
        let (voice, request) = (Arc::clone(voice), Arc::clone(request));
        let rendered = tokio::task::spawn_blocking(move || {
            let own = match self.template.as_str() {
                "" => None,
                text => Some(GoTemplate::parse(text).map_err(|error| internal(error.to_string()))?),
            };
            if self.suffix.is_empty()
                && let Some(template) = &own
            {
                let input = RenderInput {
                    messages: &tagged(&request.messages),
                    think: request.think,
                    ..RenderInput::default()
                };
                let prompt = template.render(&input);
                return prompt.map_err(|error| internal(error.to_string()));
            }
            let parts = PromptParts {
                prompt: &self.prompt,
                suffix: &self.suffix,
                think: request.think,
                ..PromptParts::default()
            };
            match own.as_ref().or(voice.go()) {
                Some(template) => template
                    .render_parts(&parts)
                    .map_err(|error| internal(error.to_string())),
                None => Err(internal("the model has no TEMPLATE with a suffix")),
            }
        });
        let prompt = rendered
            .await
            .map_err(|error| internal(error.to_string()))??;
        Ok(Some(prompt))
    }
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
            Ok(stream) => return Ok(stream),
            Err(refusal) => refusal.second_chance()?,
        }
        let again = self.try_answer(inference, prepared).await;
        again.map_err(Refusal::into_error)
    }

    async fn try_answer(
        &self,
        inference: &Inference,
        prepared: &Prepared,
    ) -> Result<ChunkStream, Refusal> {
        let common = &self.request.common;
        let options = &self.checked.options;
        let loaded = prepare::load(inference, prepared, options, common.keep_alive).await?;
        let n_ctx = loaded.lease.n_ctx(options.num_ctx);
        let text = self.request.prompt.clone();
        if common.debug_render_only {
            let n_images = self.request.images.len();
            return Ok(single(DoneReason::Debug, Some((text, n_images))));
        }
        let shown = self.request.images.clone();
        let fitted = if !shown.is_empty() {
            Fitted::parts(images::place(text, shown, Placeless::InFront).await?)
        } else if common.truncate == Some(false) {
            Fitted::whole(text)
        } else {
            fit_text(text, &loaded.lease, n_ctx, (options, common.shift)).await?
        };
        let mut params = params(
            common,
            options,
            n_ctx,
            fitted.parts,
            self.checked.constraint.clone(),
        );
        params.add_special = !fitted.truncated;
        let spec = AnswerSpec {
            params,
            parser: Box::new(Passthrough),
            names_calls: false,
            context_of: None,
            truncated: fitted.truncated,
            received: self.checked.received,
        };
        start(loaded, spec).await
    }
}
