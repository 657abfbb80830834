//! Bodies: JSON as Go writes it, streams of lines and events, headers within two seconds.
//!
//! *Invariants:* headers are sent only with or after the first piece (or after the deadline), every event
//! is a separate frame, and a stream that fails or is cut off ends with an error in its own format.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use futures_util::stream::{self, Peekable, Stream, StreamExt as _};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::error::{ApiError, JSON, log_broken_stream, ollama_line};
use super::state::App;
use crate::dialect::openai;
use crate::error::{ErrorKind, RequestError};
use crate::inference::{Chunk, ChunkStream};
use crate::json::go as go_json;

/// The longest time that a streaming client waits for headers. An error within it becomes a status; a later
/// one ends the stream.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// The pieces of an answer in progress.
pub(crate) type Items<T, E> = Pin<Box<dyn Stream<Item = Result<T, E>> + Send>>;

/// Opens a streaming response: returns with the first piece, with an error before it, or after [`PATIENCE`]
/// with a stream that yields either of them later.
///
/// # Errors
/// Errors before the first piece that are early enough to become a status.
pub(crate) async fn open<S, T, E>(
    opening: impl Future<Output = Result<S, E>> + Send + 'static,
) -> Result<Items<T, E>, E>
where
    S: Stream<Item = Result<T, E>> + Send + Unpin + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let first = async move {
        let mut items = opening.await?;
        let first = items.next().await.transpose()?;
        Ok((first, items))
    };
    let mut first = Box::pin(first.in_current_span());
    let joined = |(first, items): (Option<T>, S)| stream::iter(first.map(Ok)).chain(items);
    match tokio::time::timeout(PATIENCE, &mut first).await {
        Ok(known) => known.map(|opened| joined(opened).boxed()),
        Err(_) => {
            let late = stream::once(first).flat_map(move |result| match result {
                Ok(opened) => Either::Left(joined(opened)),
                Err(error) => Either::Right(stream::iter([Err(error)])),
            });
            Ok(late.boxed())
        }
    }
}

/// The format of a stream: its content type, and how it reports an error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    pub(crate) content_type: &'static str,
    pub(crate) error: fn(&ApiError) -> Bytes,
}

/// One object per line (Ollama's routes); frames come from [`to_bytes`].
pub(crate) const NDJSON: Format = Format {
    content_type: "application/x-ndjson",
    error: ollama_line,
};

/// Server-sent events (OpenAI's routes); frames come from [`event`].
pub(crate) const SSE: Format = Format {
    content_type: "text/event-stream",
    error: |error| event(None, &openai::error_body(error)),
};

/// The last event of OpenAI's chat and completion streams.
pub(crate) const SSE_DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// Answers 200 with a stream of finished frames; `cut_off` ends it early.
pub(crate) fn streamed<E: Into<ApiError> + Send + 'static>(
    format: Format,
    frames: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    cut_off: &CancellationToken,
) -> Response {
    let writer = Writer {
        frames: Some(frames.boxed()),
        cut_off: cut_off.clone(),
        format,
        span: tracing::Span::current(),
    };
    let body = stream::unfold(writer, |mut writer| async move {
        let span = writer.span.clone();
        let frame = writer.next().instrument(span).await?;
        Some((Ok::<_, Infallible>(frame), writer))
    });
    let content_type = [(header::CONTENT_TYPE, format.content_type)];
    (content_type, Body::from_stream(body)).into_response()
}

/// What a stream sends when it has been silent for a while, so that neither the client nor a proxy gives up.
#[derive(Debug, Clone)]
pub(crate) struct KeptAlive {
    pub(crate) every: Duration,
    /// Before the first frame.
    pub(crate) before: Bytes,
    /// After the first frame.
    pub(crate) after: Bytes,
}

/// Adds signs of life to a silent stream.
pub(crate) fn keep_alive<E: Send + 'static>(
    frames: Items<Bytes, E>,
    alive: KeptAlive,
) -> Items<Bytes, E> {
    let state = (frames, alive.before.clone());
    let kept = stream::unfold(state, move |(mut frames, sign)| {
        let alive = alive.clone();
        async move {
            match tokio::time::timeout(alive.every, frames.next()).await {
                Ok(frame) => Some((frame?, (frames, alive.after))),
                Err(_) => Some((Ok(sign.clone()), (frames, sign))),
            }
        }
    });
    kept.boxed()
}

struct Writer<E> {
    /// `None` after the last frame.
    frames: Option<Items<Bytes, E>>,
    cut_off: CancellationToken,
    format: Format,
    /// The request's span, since the body outlives the handler.
    span: tracing::Span,
}

impl<E: Into<ApiError>> Writer<E> {
    async fn next(&mut self) -> Option<Bytes> {
        let frames = self.frames.as_mut()?;
        let frame = tokio::select! {
            biased;
            () = self.cut_off.cancelled() => Some(Err(ApiError::stopping())),
            frame = frames.next() => frame.map(|frame| frame.map_err(Into::into)),
        };
        match frame? {
            Ok(frame) => Some(frame),
            Err(error) => {
                self.frames = None;
                log_broken_stream(&error);
                Some((self.format.error)(&error))
            }
        }
    }
}

/// The header of an answer whose prompt was cut to fit the context.
const TRUNCATED: HeaderName = HeaderName::from_static("x-drover-prompt-truncated");

/// Adds a header that says that the prompt was cut.
pub(crate) fn told(mut response: Response, is_cut: bool) -> Response {
    if is_cut {
        let yes = HeaderValue::from_static("true");
        response.headers_mut().insert(TRUNCATED, yes);
    }
    response
}

/// Checks whether the first piece reports a cut prompt, if it has arrived: headers do not wait for it.
pub(crate) fn looked_at<T, E>(
    items: Items<T, E>,
    of: fn(&T) -> bool,
) -> (Peekable<Items<T, E>>, bool) {
    let mut items = items.peekable();
    let first = Pin::new(&mut items).peek().now_or_never().flatten();
    let is_cut = first.is_some_and(|first| first.as_ref().is_ok_and(of));
    (items, is_cut)
}

/// Joins the pieces of an answer into one.
///
/// # Errors
/// The first error; earlier output is lost.
pub(crate) async fn fold(mut chunks: ChunkStream) -> Result<Chunk, RequestError> {
    let mut whole = Chunk::default();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        whole.content.push_str(&chunk.content);
        whole.thinking.push_str(&chunk.thinking);
        whole.tool_calls.extend(chunk.tool_calls);
        whole.logprobs.extend(chunk.logprobs);
        whole.prompt_truncated |= chunk.prompt_truncated;
        if chunk.done.is_some() {
            whole.done = chunk.done;
            return Ok(whole);
        }
    }
    Err(RequestError::new(
        ErrorKind::Internal,
        "the answer ended before it was done",
    ))
}

/// Answers 200 with one JSON object that is encoded on the blocking pool, since it may be large.
///
/// # Errors
/// The job was lost.
pub(crate) async fn json_aside(
    app: &App,
    value: impl Serialize + Send + 'static,
) -> Result<Response, ApiError> {
    let written = app.block(move || json(&value));
    Ok(written.await?)
}

/// Answers 200 with one JSON object.
pub(crate) fn json(value: &impl Serialize) -> Response {
    json_as(JSON, value)
}

/// Answers 200 with one JSON object and the given content type.
pub(crate) fn json_as(content_type: &'static str, value: &impl Serialize) -> Response {
    let line = to_bytes(value);
    let object = line.slice(..line.len().saturating_sub(1));
    ([(header::CONTENT_TYPE, content_type)], object).into_response()
}

/// Writes a value as one line of JSON, escaped as Go does.
pub(crate) fn to_bytes(value: &impl Serialize) -> Bytes {
    match go_json::to_vec(value) {
        Ok(line) => line.into(),
        // Encoding fails only for maps with keys that are not strings, and no wire type has one.
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            Bytes::from_static(b"{}\n")
        }
    }
}

/// Writes a value as a server-sent event, with a name where the dialect has one.
pub(crate) fn event(name: Option<&str>, value: &impl Serialize) -> Bytes {
    let line = to_bytes(value);
    let mut frame = Vec::with_capacity(line.len() + 32);
    if let Some(name) = name {
        frame.extend_from_slice(b"event: ");
        frame.extend_from_slice(name.as_bytes());
        frame.push(b'\n');
    }
    frame.extend_from_slice(b"data: ");
    frame.extend_from_slice(&line);
    frame.push(b'\n');
    frame.into()
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use http_body_util::BodyExt as _;
    use serde_json::json;
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;

    type Numbers = Items<u32, ApiError>;

    fn numbers(items: Vec<Result<u32, ApiError>>) -> Numbers {
        stream::iter(items).boxed()
    }

    fn broken() -> ApiError {
        ApiError::internal("boom")
    }

    async fn after(seconds: u64, result: Result<Numbers, ApiError>) -> Result<Numbers, ApiError> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        result
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_failure_is_a_status() {
        let opened = open(after(1, Err(broken()))).await;
        assert_eq!(opened.err(), Some(broken()));
        // The same if the stream exists and fails before its first piece.
        let opened = open(after(1, Ok(numbers(vec![Err(broken())])))).await;
        assert_eq!(opened.err(), Some(broken()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_answer_is_whole() {
        let pieces = numbers(vec![Ok(1), Ok(2), Err(broken())]);
        let opened = open(after(1, Ok(pieces))).await.unwrap();
        let items: Vec<_> = opened.collect().await;
        assert_eq!(items, [Ok(1), Ok(2), Err(broken())]);
    }

    #[tokio::test(start_paused = true)]
    async fn headers_go_out_after_two_seconds() {
        let started = Instant::now();
        let opened = open(after(60, Ok(numbers(vec![Ok(1), Ok(2)]))))
            .await
            .unwrap();
        assert_eq!(started.elapsed(), PATIENCE);
        let items: Vec<_> = opened.collect().await;
        assert_eq!(items, [Ok(1), Ok(2)]);
        assert_eq!(started.elapsed(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_failure_ends_the_stream() {
        let opened = open(after(60, Err(broken()))).await.unwrap();
        let items: Vec<_> = opened.collect().await;
        assert_eq!(items, [Err(broken())]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_cancels_the_opening() {
        let (held, mut gone) = oneshot::channel::<()>();
        let opening = async move {
            let result = after(60, Ok(numbers(vec![Ok(1)]))).await;
            drop(held);
            result
        };
        let opened = open(opening).await.unwrap();
        assert!(
            gone.try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
        );
        drop(opened);
        assert!(gone.await.is_err());
    }

    async fn text(response: Response) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn frames(items: Vec<Result<u32, ApiError>>) -> Items<Bytes, ApiError> {
        let frame =
            |item: Result<u32, ApiError>| item.map(|number| to_bytes(&json!({"n": number})));
        stream::iter(items.into_iter().map(frame)).boxed()
    }

    #[tokio::test]
    async fn a_broken_stream_ends_with_its_error() {
        let token = CancellationToken::new();
        let items = || frames(vec![Ok(1), Err(broken()), Ok(2)]);
        let response = streamed(NDJSON, items(), &token);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        assert_eq!(text(response).await, "{\"n\":1}\n{\"error\":\"boom\"}\n");
        let response = streamed(SSE, items(), &token);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(
            text(response).await,
            "{\"n\":1}\ndata: {\"error\":{\"message\":\"boom\",\"type\":\"api_error\",\"param\":null,\"code\":null}}\n\n"
        );
    }

    #[tokio::test]
    async fn cutting_off_ends_a_stream_that_would_go_on() {
        let token = CancellationToken::new();
        let endless =
            stream::iter([Ok::<_, ApiError>(to_bytes(&json!({"n": 1})))]).chain(stream::pending());
        let response = streamed(NDJSON, endless, &token);
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&first[..], b"{\"n\":1}\n");
        token.cancel();
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!(&rest[..], b"{\"error\":\"the server is shutting down\"}\n");
    }

    #[test]
    fn events_may_have_names() {
        let value = json!({"text": "a<b>&\u{2028}"});
        let escaped = "{\"text\":\"a\\u003cb\\u003e\\u0026\\u2028\"}";
        assert_eq!(event(None, &value), format!("data: {escaped}\n\n"));
        assert_eq!(
            event(Some("ping"), &value),
            format!("event: ping\ndata: {escaped}\n\n")
        );
    }
}
