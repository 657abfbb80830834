//! Request deadlines, and the queue position that waiting clients are told.
//!
//! | Header of a request | Meaning |
//! | --- | --- |
//! | `X-Request-Timeout` | seconds, or a duration such as `1m30s`, after which the client wants no answer |
//! | `X-Queue-Progress: true` | an event stream reports the queue position in comments |
//!
//! If an answer's headers are sent before there is any output, they have `X-Queue-State` (`loading` or `waiting`),
//! `X-Queue-Position` (how many requests are ahead) and `X-Queue-Wait` (about how many seconds).

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, Interval, MissedTickBehavior, timeout_at};

use super::Need;
use crate::inference::{Place, Waiting, exceeded, timeout};
use crate::keys::Scope;
use crate::server::error::{ApiError, spelled};
use crate::units::whole_seconds;

const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");
const PROGRESS: HeaderName = HeaderName::from_static("x-queue-progress");
const STATE: HeaderName = HeaderName::from_static("x-queue-state");
const POSITION: HeaderName = HeaderName::from_static("x-queue-position");
const WAIT: HeaderName = HeaderName::from_static("x-queue-wait");

/// How often a stream reports the position of its request.
const EVERY: Duration = Duration::from_secs(2);

/// When a request expires.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct Deadline(pub(in crate::server) Instant);

/// The queue position of a request, in its extensions.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct Patience(pub(in crate::server) Waiting);

/// Serves a request that may have to wait for a model.
pub(super) async fn told<F>(
    need: Need,
    mut request: Request,
    serve: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    if need != Need::Scope(Scope::Inference) || request.method() != Method::POST {
        return serve(request).await;
    }
    match deadline(request.headers()) {
        Ok(None) => {}
        Ok(Some(deadline)) => drop(request.extensions_mut().insert(deadline)),
        Err(error) => return spelled(error, request.uri().path()),
    }
    let patience = Patience::default();
    request.extensions_mut().insert(patience.clone());
    let wants_progress = request.headers().get(&PROGRESS).is_some_and(|value| {
        let value = value.as_bytes();
        value == b"1" || value.eq_ignore_ascii_case(b"true")
    });
    let Patience(waiting) = patience;
    let mut response = serve(request).await;
    if waiting.is_over() || !response.status().is_success() {
        return response;
    }
    if let Some(place) = waiting.place().await {
        tell(response.headers_mut(), place);
    }
    let kind = response.headers().get(header::CONTENT_TYPE);
    if wants_progress && kind.is_some_and(|kind| kind == "text/event-stream") {
        return response.map(|body| with_progress(body, waiting));
    }
    response
}

/// Waits for something, up to the request's deadline.
pub(super) async fn in_time<T>(
    extensions: &Extensions,
    work: impl Future<Output = T>,
) -> Result<T, ApiError> {
    match extensions.get() {
        None => Ok(work.await),
        Some(Deadline(at)) => timeout_at(*at, work).await.map_err(|_| exceeded()),
    }
}

fn deadline(headers: &HeaderMap) -> Result<Option<Deadline>, ApiError> {
    let Some(value) = headers.get(&TIMEOUT) else {
        return Ok(None);
    };
    let timeout = value.to_str().ok().and_then(timeout);
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    match deadline {
        Some(at) => Ok(Some(Deadline(at))),
        None => Err(ApiError::invalid(
            "X-Request-Timeout must be a time such as 30 or 1m30s",
        )),
    }
}

fn tell(headers: &mut HeaderMap, place: Place) {
    let (state, numbers) = match place {
        Place::Loading => ("loading", None),
        Place::Queued(n_before, wait) => ("waiting", Some((n_before, wait))),
    };
    headers.insert(STATE, HeaderValue::from_static(state));
    if let Some((n_before, wait)) = numbers {
        headers.insert(POSITION, HeaderValue::from(n_before));
        if let Some(wait) = wait {
            headers.insert(WAIT, HeaderValue::from(whole_seconds(wait)));
        }
    }
}

/// A comment in an event stream, which readers ignore by the standard.
fn comment(place: Place) -> Bytes {
    let text = match place {
        Place::Loading => ": queue state=loading\n\n".to_owned(),
        Place::Queued(n_before, None) => {
            format!(": queue state=waiting position={n_before}\n\n")
        }
        Place::Queued(n_before, Some(wait)) => {
            let wait = whole_seconds(wait);
            format!(": queue state=waiting position={n_before} wait={wait}\n\n")
        }
    };
    text.into()
}

struct Telling {
    body: BodyDataStream,
    waiting: Waiting,
    tick: Interval,
}

/// Reports the queue position at intervals until the answer begins.
fn with_progress(body: Body, waiting: Waiting) -> Body {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let telling = Telling {
        body: body.into_data_stream(),
        waiting,
        tick,
    };
    let frames = stream::unfold(telling, |mut telling| async move {
        loop {
            let is_over = telling.waiting.is_over();
            tokio::select! {
                biased;
                frame = telling.body.next() => return Some((frame?, telling)),
                _ = telling.tick.tick(), if !is_over => {
                    // The body is polled again before the next comment.
                    if let Some(place) = telling.waiting.place().await {
                        return Some((Ok::<_, axum::Error>(comment(place)), telling));
                    }
                }
            }
        }
    });
    Body::from_stream(frames)
}

impl<S: Sync> axum::extract::FromRequestParts<S> for Patience {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _state: &S,
    ) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}
