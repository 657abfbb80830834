//! Adds a span, a log line and two headers to every request.
//!
//! The line is written when the answer has ended, so that its duration covers the whole stream.

use std::task::Poll;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument as _, Span};

use crate::metrics;
use crate::server::watched::{Polled, Watch, Watched};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const DROVER_VERSION: HeaderName = HeaderName::from_static("x-drover-version");

/// The longest request id that a client may choose.
const MAX_ID_BYTES: usize = 128;

/// The status in the log for a client that left before it had one.
const CLIENT_LEFT: u16 = 499;

pub(super) async fn record(request: Request, next: Next) -> Response {
    let id = client_id(request.headers()).unwrap_or_else(new_id);
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("-", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        route
    );
    let route = route.to_owned();
    let mut line = Line {
        route,
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        started: Instant::now(),
        status: CLIENT_LEFT,
        span: span.clone(),
        complete: false,
    };
    let mut response = next.run(request).instrument(span).await;
    line.status = response.status().as_u16();
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(
        DROVER_VERSION,
        HeaderValue::from_static(env!("CARGO_PKG_VERSION")),
    );
    response.map(|body| {
        // Nobody reads the body of an answer to HEAD.
        line.complete = body.is_end_stream() || line.method == Method::HEAD;
        Body::new(Watched::new(body, line))
    })
}

/// The client's request id, if it is short and safe to log.
fn client_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(&REQUEST_ID)?;
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let good = (1..=MAX_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(harmless);
    good.then(|| id.clone())
}

fn new_id() -> HeaderValue {
    let id = format!("req_{:016x}", fastrand::u64(..));
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("req"))
}

/// The log line, written on drop: at the end of the answer, or when the client leaves.
#[derive(Debug)]
struct Line {
    method: Method,
    /// The line of the route table; `-` = none.
    route: String,
    path: String,
    started: Instant,
    status: u16,
    span: Span,
    complete: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        let time = self.started.elapsed();
        let duration_ms = (time.as_secs_f64() * 1e6).round() / 1e3;
        let Self {
            method,
            route,
            path,
            status,
            complete,
            ..
        } = self;
        metrics::request(route, if *complete { *status } else { CLIENT_LEFT }, time);
        if *complete {
            tracing::info!(status, duration_ms, "{method} {path} {status}");
        } else {
            tracing::info!(
                status,
                duration_ms,
                "{method} {path} {status}, the client left early"
            );
        }
    }
}

/// The line notices the end of the body.
impl Watch for Line {
    fn polled(&mut self, polled: &Polled, is_last: bool) {
        self.complete |= match polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => is_last,
            _ => false,
        };
    }
}
