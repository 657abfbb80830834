//! Generate: one prompt, rendered as a short chat or used unchanged.

use std::sync::Arc;
use std::time::Instant;

use super::answer::{AnswerSpec, single, start};
use super::calls::Calls;
use super::chat::{Conversation, UNLOAD, think};
use super::chat_format::ChatFormat;
use super::context::Context;
use super::echo::echoed;
use super::error::{RequestError, internal, invalid};
use super::images::{self, Placeless};
use super::params::{own_stops, params, too_long};
use super::prepare::{self, Prepared, Route, check_capabilities, merge_options};
use super::refusal::Refusal;
use super::render::{self, RenderRequest, claim};
use super::types::{ChunkStream, DoneReason, GenerateRequest};
use super::{format, load};
use crate::chat::Message;
use crate::model::Options;
use crate::model::capability::Capability;
use crate::parser::Passthrough;
use crate::protocol::{Constraint, PromptPart};
use crate::workers::{Template, Workers};

/// Runs a generate request.
pub(super) async fn run(
    context: &Context,
    request: GenerateRequest,
) -> Result<ChunkStream, RequestError> {
    let received = Instant::now();
    let prepared = prepare::find(context, &request.common, Route::Generate).await?;
    if request.prompt.is_empty() && request.common.keep_alive == UNLOAD {
        context
            .scheduler
            .unload(prepared.model.weights.clone().unwrap_or_default())
            .await;
        return Ok(single(DoneReason::Unload, None).chunks);
    }
    check(&prepared, &request)?;
    let mut options = merge_options(&prepared, &request.common)?;
    if !request.may_be_empty {
        options.lift_zero_limit();
    }
    let constraint = format::parse(&request.common.format)?;
    if request.prompt.is_empty() && request.tokens.is_empty() {
        load::load(context, &prepared, &options, &request.common).await?;
        return Ok(single(DoneReason::Load, None).chunks);
    }
    let checked = Checked {
        options,
        constraint,
        received,
    };
    if request.raw || !request.tokens.is_empty() {
        return Raw {
            request: &request,
            checked,
        }
        .answer(context, &prepared)
        .await;
    }
    let echo = request.echo.then(|| request.prompt.clone());
    let stream = rendered(context, &prepared, request, checked).await?;
    Ok(echoed(echo, false, stream))
}

/// A request's data after the checks.
struct Checked {
    options: Options,
    constraint: Option<Constraint>,
    /// When the request arrived.
    received: Instant,
}

/// The checks that need the model, in Ollama's order.
fn check(prepared: &Prepared, request: &GenerateRequest) -> Result<(), RequestError> {
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
    let images: Vec<_> = request.images.iter().collect();
    images::check(prepared, &request.common, &images)
}

/// Renders the prompt as a short chat: system text, the model's own messages, one user message. A template
/// in the request renders the prompt directly, and so does the model's template for a prompt with a suffix.
async fn rendered(
    context: &Context,
    prepared: &Prepared,
    request: GenerateRequest,
    checked: Checked,
) -> Result<ChunkStream, RequestError> {
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
    let mut to_render = RenderRequest::new(messages, Vec::new(), think, claim(&request.common));
    to_render.is_chat = false;
    let to_render = Arc::new(to_render);
    let rendered = direct.render(&context.workers, &prepared.chat_format, &to_render);
    let conversation = Conversation {
        rendered: rendered.await?,
        request: to_render,
        common: request.common,
        options,
        constraint,
        received,
        context: request.context,
        is_chat: false,
        must_call: false,
        one_call: false,
    };
    let started = conversation.answer(context, prepared).await?;
    Ok(started.chunks)
}

/// A prompt that is rendered without the model's renderer, and without dropping messages.
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
        workers: &Workers,
        chat_format: &ChatFormat,
        request: &Arc<RenderRequest>,
    ) -> Result<Option<String>, RequestError> {
        let own = match self.template.as_str() {
            "" => None,
            text => Some(Arc::new(Template::of_request(text).map_err(internal)?)),
        };
        let subject = match (&own, self.suffix.as_str()) {
            (None, "") => return Ok(None),
            (Some(_), "") => request.subject(workers).await?,
            (_, suffix) => {
                let subject = workers.parts(&self.prompt, suffix, request.think);
                Arc::new(subject.map_err(render::error)?)
            }
        };
        let prompt = match (&own, chat_format.go()) {
            (Some(template), _) => {
                let prompt = workers.render(template, &subject, &request.claim, 0).await;
                prompt.map_err(render::error)?
            }
            (None, Some(template)) => {
                let prompt = workers.render(template, &subject, &request.claim, 0).await;
                prompt.map_err(|error| render::of_model(chat_format.name(), error))?
            }
            (None, None) => return Err(internal("the model has no TEMPLATE with a suffix")),
        };
        Ok(Some(prompt))
    }
}

/// A prompt that goes to the model unchanged.
struct Raw<'a> {
    request: &'a GenerateRequest,
    checked: Checked,
}

impl Raw<'_> {
    async fn answer(
        &self,
        context: &Context,
        prepared: &Prepared,
    ) -> Result<ChunkStream, RequestError> {
        match self.try_answer(context, prepared).await {
            Ok(stream) => return Ok(stream),
            Err(refusal) => refusal.second_chance()?,
        }
        let again = self.try_answer(context, prepared).await;
        again.map_err(Refusal::into_error)
    }

    async fn try_answer(
        &self,
        context: &Context,
        prepared: &Prepared,
    ) -> Result<ChunkStream, Refusal> {
        let common = &self.request.common;
        let options = &self.checked.options;
        let loaded = load::load(context, prepared, options, common).await?;
        let n_ctx = loaded.lease.n_ctx(options.num_ctx);
        let tokens = &self.request.tokens;
        let text = if !tokens.is_empty() && self.request.echo {
            let (tokens, client) = (tokens.clone(), common.client.clone());
            loaded.lease.runner().detokenize(tokens, client).await?
        } else {
            self.request.prompt.clone()
        };
        let echo = self.request.echo.then(|| text.clone());
        if common.debug_render_only {
            let n_images = self.request.images.len();
            return Ok(single(DoneReason::Debug, Some((text, n_images))).chunks);
        }
        let shown = self.request.images.clone();
        let too_long = too_long(common, !shown.is_empty());
        let parts = if tokens.is_empty() {
            images::place(text, shown, Placeless::InFront).await?
        } else {
            vec![PromptPart::Tokens(tokens.clone())]
        };
        let constraint = self.checked.constraint.clone();
        let mut params = params(common, options, n_ctx, parts, constraint);
        params.prompt_logprobs = self.request.prompt_logprobs;
        // A client that counts tokens would be confused by a cut prompt.
        params.cut &= params.prompt_logprobs.is_none();
        let has_tokens = params.prompt_logprobs.is_some();
        let spec = AnswerSpec {
            params,
            parser: Box::new(Passthrough),
            calls: Calls::default(),
            stops: own_stops(common, options),
            context_of: None,
            truncated: false,
            too_long,
            received: self.checked.received,
        };
        let started = start(loaded, spec).await?;
        Ok(echoed(echo, has_tokens, started.chunks))
    }
}
