//! Chat: a conversation in, an answer out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{AnswerSpec, single, start};
use super::calls::Calls;
use super::context::Context;
use super::error::RequestError;
use super::images::{self, Placeless};
use super::params::{own_stops, params, too_long};
use super::prepare::{self, Prepared, Route, check_capabilities, merge_options};
use super::refusal::{Refusal, engine_error};
use super::render::{RenderRequest, claim};
use super::truncate::{Fitted, History, fit_history, tokenized};
use super::types::{ChatRequest, DoneReason, RequestOptions, Started};
use super::{forced, format, history, load};
use crate::chat::{Think, Turn};
use crate::config::KeepAlive;
use crate::model::Options;
use crate::model::capability::Capability;
use crate::parser::ForcedCall;
use crate::protocol::{Constraint, Exempt, Token};
use crate::renderer::kept;
use crate::scheduler::Lease;

/// The keep-alive that unloads a model.
pub(super) const UNLOAD: Option<KeepAlive> = Some(KeepAlive::For(Duration::ZERO));

/// Runs a chat request.
pub(super) async fn run(context: &Context, request: ChatRequest) -> Result<Started, RequestError> {
    let received = Instant::now();
    let prepared = prepare::find(context, &request.common, Route::Chat).await?;
    if request.messages.is_empty() && request.common.keep_alive == UNLOAD {
        context
            .scheduler
            .unload(prepared.model.weights.clone().unwrap_or_default())
            .await;
        return Ok(single(DoneReason::Unload, None));
    }
    let is_empty = request.messages.is_empty();
    let conversation = conversation(&prepared, request, received)?;
    if is_empty {
        let (options, common) = (&conversation.options, &conversation.common);
        load::load(context, &prepared, options, common).await?;
        return Ok(single(DoneReason::Load, None));
    }
    conversation.answer(context, &prepared).await
}

/// Counts the tokens of a request's prompt, which may be longer than the context.
pub(super) async fn count(context: &Context, request: ChatRequest) -> Result<u32, RequestError> {
    let received = Instant::now();
    let prepared = prepare::find(context, &request.common, Route::Chat).await?;
    let conversation = conversation(&prepared, request, received)?;
    let (options, common) = (&conversation.options, &conversation.common);
    let loaded = load::load(context, &prepared, options, common).await?;
    let history = conversation.history(context, &prepared);
    let prompt = history.render(0).await?;
    let images = images::of(&conversation.request.messages);
    let parts = images::place(prompt, images, Placeless::Refused).await?;
    let (common, options) = (&conversation.common, &conversation.options);
    let counted = loaded
        .lease
        .runner()
        .count(params(common, options, 0, parts, None));
    counted.await.map_err(|error| engine_error(&error))
}

/// Checks a request and makes it a conversation.
fn conversation(
    prepared: &Prepared,
    request: ChatRequest,
    received: Instant,
) -> Result<Conversation, RequestError> {
    let wants: &[Capability] = if request.tools.is_empty() {
        &[]
    } else {
        &[Capability::Tools]
    };
    check_capabilities(prepared, &request.common, Route::Chat, wants)?;
    let media: Vec<_> = request.messages.iter().flat_map(Turn::media).collect();
    images::check(prepared, &request.common, &media)?;
    let mut options = merge_options(prepared, &request.common)?;
    if prepared.chat_format.path.is_rendered() {
        options.lift_zero_limit();
    }
    let must_call = request.must_call.filter(|_| !request.tools.is_empty());
    let constraint = match must_call {
        Some(must_call) => Some(forced::constraint(&request.tools, must_call)),
        None => format::parse(&request.common.format)?.map(|form| {
            let bare = prepared.chat_format.bare_calls();
            match bare.filter(|_| !request.tools.is_empty()) {
                Some(is_list) => forced::or_calls(form, &request.tools, is_list),
                None => form,
            }
        }),
    };
    let must_call = must_call.is_some();
    // A forced call applies from the first token on.
    let wanted = if must_call && prepared.has(Capability::Thinking) {
        Some(Think::Off)
    } else {
        request.common.think
    };
    let think = think(prepared, wanted, constraint.as_ref());
    let messages = request.messages.into_iter().flat_map(Turn::into_messages);
    Ok(Conversation {
        request: Arc::new(RenderRequest::new(
            history::assemble(prepared, messages.collect()),
            request.tools,
            think,
            claim(&request.common),
        )),
        rendered: None,
        common: request.common,
        options,
        constraint,
        received,
        context: Vec::new(),
        is_chat: true,
        must_call,
        one_call: request.one_call,
    })
}

/// A conversation with everything that is needed to answer it.
pub(super) struct Conversation {
    pub(super) request: Arc<RenderRequest>,
    /// The prompt, if something other than the model's own template rendered it.
    pub(super) rendered: Option<String>,
    pub(super) common: RequestOptions,
    pub(super) options: Options,
    pub(super) constraint: Option<Constraint>,
    pub(super) received: Instant,
    /// For generate: tokens of an earlier exchange, which precede the prompt.
    pub(super) context: Vec<Token>,
    /// False for generate, whose final object carries the tokens of prompt and answer.
    pub(super) is_chat: bool,
    /// The constraint forces a tool call.
    pub(super) must_call: bool,
    /// Only the first of several calls is passed on.
    pub(super) one_call: bool,
}

impl Conversation {
    /// Loads the model and answers.
    pub(super) async fn answer(
        &self,
        context: &Context,
        prepared: &Prepared,
    ) -> Result<Started, RequestError> {
        match self.try_answer(context, prepared).await {
            Ok(stream) => return Ok(stream),
            Err(refusal) => refusal.second_chance()?,
        }
        let again = self.try_answer(context, prepared).await;
        again.map_err(Refusal::into_error)
    }

    async fn try_answer(&self, context: &Context, prepared: &Prepared) -> Result<Started, Refusal> {
        let loaded = load::load(context, prepared, &self.options, &self.common).await?;
        let n_ctx = loaded.lease.n_ctx(self.options.num_ctx);
        let chat_format = &prepared.chat_format;
        let history = self.history(context, prepared);
        let fitted = if let Some(prompt) = &self.rendered {
            Fitted::whole(prompt.clone())
        } else if self.common.truncate == Some(false) {
            Fitted::whole(history.render(0).await?)
        } else {
            fit_history(&history, &loaded.lease, n_ctx).await?
        };
        let n_dropped = fitted.n_dropped;
        if n_dropped > 0 {
            tracing::warn!(
                n_dropped,
                n_ctx,
                "the oldest messages were left out to fit the context"
            );
        }
        let prompt = self.with_context(fitted.prompt, &loaded.lease).await?;
        let tokens = fitted.tokens.filter(|_| self.context.is_empty());
        if self.common.debug_render_only {
            let n_images = images::of(&self.request.messages).len();
            return Ok(single(DoneReason::Debug, Some((prompt, n_images))));
        }
        let thinks = self.request.think.is_some_and(Think::is_on);
        let parser = if self.must_call {
            Box::new(ForcedCall::default())
        } else {
            chat_format.parser(&self.request, &prompt, thinks)
        };
        let exempt = if self.must_call {
            Exempt::default()
        } else {
            chat_format.exempt(&self.request, &prompt)
        };
        let context_of = (!self.is_chat).then(|| prompt.clone());
        let shown = images::of(kept(&self.request.messages, n_dropped));
        let too_long = too_long(&self.common, !shown.is_empty());
        let parts = match tokens {
            Some(tokens) if shown.is_empty() => tokenized(tokens),
            _ => images::place(prompt, shown, Placeless::Refused).await?,
        };
        let mut params = params(
            &self.common,
            &self.options,
            n_ctx,
            parts,
            self.constraint.clone(),
        );
        params.exempt = exempt;
        if let Some(thinking) = &mut params.exempt.thinking {
            thinking.n_most = self.common.think_budget;
        }
        if self.is_chat {
            let stops = chat_format.stops().iter();
            params.stop.extend(stops.map(|&text| text.to_owned()));
        }
        params.preserved = chat_format.preserved(!self.request.tools.is_empty());
        start(
            loaded,
            AnswerSpec {
                params,
                parser,
                calls: if self.is_chat {
                    Calls::named(self.one_call.then_some(1), self.common.call_parts)
                } else {
                    Calls::default()
                },
                stops: own_stops(&self.common, &self.options),
                context_of,
                truncated: n_dropped > 0,
                too_long,
                received: self.received,
            },
        )
        .await
    }

    fn history<'a>(&'a self, context: &'a Context, prepared: &'a Prepared) -> History<'a> {
        History {
            format: &prepared.chat_format,
            request: &self.request,
            workers: &context.workers,
            client: &self.common.client,
        }
    }

    /// Puts the text of the request's `context` tokens in front of the prompt.
    async fn with_context(&self, prompt: String, lease: &Lease) -> Result<String, Refusal> {
        if self.context.is_empty() {
            return Ok(prompt);
        }
        let (tokens, client) = (self.context.clone(), self.common.client.clone());
        Ok(lease.runner().detokenize(tokens, client).await? + &prompt)
    }
}

/// The `think` value for the template. For a model that does not think, only "off" is passed on. If it is
/// not known where thinking ends, a constraint applies from the first token, so it switches thinking off
/// unless the client asked for it.
pub(super) fn think(
    prepared: &Prepared,
    requested: Option<Think>,
    constraint: Option<&Constraint>,
) -> Option<Think> {
    if !prepared.has(Capability::Thinking) {
        return requested.filter(|think| !think.is_on());
    }
    let default = if constraint.is_some() && !prepared.chat_format.shows_where_thinking_ends() {
        Think::Off
    } else {
        Think::On
    };
    let think = requested.unwrap_or(default);
    let max = prepared
        .chat_format
        .parser
        .and_then(|parser| parser.levels.last().copied());
    Some(match (think, max) {
        (Think::Level(level), Some(max)) => Think::Level(level.min(max)),
        (think, _) => think,
    })
}
