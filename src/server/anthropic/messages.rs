//! `POST /v1/messages` and `POST /v1/messages/count_tokens`

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::Either;
use futures_util::stream::{self, Stream, StreamExt as _};

use crate::api::anthropic::{Event, MessagesRequest, TokenCount};
use crate::dialect::anthropic::{self, Head, MessageFold, MessageStream, Purpose};
use crate::error::RequestError;
use crate::inference::{ChatRequest, Started};
use crate::server::error::{AnthropicError, REQUEST, anthropic_id, identified};
use crate::server::extract::{AnthropicJson, Client};
use crate::server::state::App;
use crate::server::stream::{Format, KeptAlive, event, json, keep_alive, open, streamed, told};

/// How long a stream may be silent before it sends a sign of life.
const PATIENCE: Duration = Duration::from_secs(10);

/// Server-sent events with names.
const EVENTS: Format = Format {
    content_type: "text/event-stream",
    error: |error| event(Some("error"), &anthropic::error_body(error, None)),
};

pub(super) async fn messages(
    State(app): State<App>,
    client: Client,
    AnthropicJson(wire): AnthropicJson<MessagesRequest>,
) -> Result<Response, AnthropicError> {
    let is_stream = wire.stream;
    let (mut native, head) = converted(&app, client, wire, Purpose::Answer).await?;
    native.common.call_parts = is_stream;
    let inference = app.inference.clone();
    let response = if is_stream {
        let opening = async move { inference.start_chat(native).await };
        let frames = open(async move { Ok::<_, RequestError>(frames(head, opening.await?)) });
        let alive = KeptAlive {
            every: PATIENCE,
            // No event may come before `message_start`.
            before: Bytes::from_static(b": waiting\n\n"),
            after: frame(&Event::Ping),
        };
        let mut response = streamed(
            EVENTS,
            keep_alive(Box::pin(frames).await?, alive),
            &app.cut_off,
        );
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    } else {
        let mut chunks = inference.chat(native).await?;
        let mut fold = MessageFold::new(head);
        let mut is_cut = false;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            is_cut |= chunk.prompt_truncated;
            fold.push(chunk);
        }
        told(json(&fold.end()), is_cut)
    };
    Ok(identified(response, &anthropic_id(REQUEST)))
}

pub(super) async fn count_tokens(
    State(app): State<App>,
    client: Client,
    AnthropicJson(wire): AnthropicJson<MessagesRequest>,
) -> Result<Response, AnthropicError> {
    let (native, _) = converted(&app, client, wire, Purpose::Count).await?;
    let n_tokens = app.inference.count_tokens(native).await?;
    let count = TokenCount {
        input_tokens: n_tokens.into(),
    };
    Ok(identified(json(&count), &anthropic_id(REQUEST)))
}

/// Converts a request on the blocking pool, since it may be large.
async fn converted(
    app: &App,
    client: Client,
    wire: MessagesRequest,
    purpose: Purpose,
) -> Result<(ChatRequest, Head), AnthropicError> {
    let converting = app.block(move || anthropic::request(wire, purpose));
    let (mut native, mut head) = converting.await??;
    client.mark(&mut native.common);
    head.id = anthropic_id("msg_");
    Ok((native, head))
}

/// The events of an answer, each as a separate frame.
fn frames(
    head: Head,
    started: Started,
) -> impl Stream<Item = Result<Bytes, RequestError>> + Send + Unpin + 'static {
    let (mut spell, first) = MessageStream::new(head, started.n_prompt.unwrap_or_default());
    let first = [frame(&first), frame(&Event::Ping)].map(Ok);
    let rest = started.chunks.flat_map(move |chunk| match chunk {
        Ok(chunk) => {
            let events: Vec<_> = spell.push(chunk).iter().map(frame).map(Ok).collect();
            Either::Left(stream::iter(events))
        }
        Err(error) => Either::Right(stream::iter([Err(error)])),
    });
    stream::iter(first).chain(rest)
}

fn frame(of: &Event) -> Bytes {
    event(Some(of.name()), of)
}
