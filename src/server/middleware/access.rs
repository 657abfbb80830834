//! Adds a span, an account, a log line and two headers to every request.
//!
//! The line is written when the answer has ended, so that its duration covers the whole stream.

mod log;

use std::sync::Arc;
use std::task::Poll;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use crate::metrics::account::Account;
use crate::metrics::{self, InFlight};
use crate::server::origin::Peer;
use crate::server::watched::{Polled, Watch, Watched};
use log::{Done, End};

pub(super) use log::Log;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const DROVER_VERSION: HeaderName = HeaderName::from_static("x-drover-version");

/// The longest request id that a client may choose.
const MAX_ID_BYTES: usize = 128;

/// The most bytes of a path that are logged: a head may have 64 KiB of it and be refused.
const MAX_PATH_BYTES: usize = 1024;

/// The logged status when a client left before there was one.
const CLIENT_LEFT: u16 = 499;

pub(super) async fn record(State(log): State<Log>, request: Request, next: Next) -> Response {
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
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let client = peer.map(|ConnectInfo(Peer(address))| address.ip().to_canonical());
    let account = Account::new(
        id.to_str().unwrap_or_default().to_owned(),
        route.to_owned(),
        client.map_or_else(String::new, |client| client.to_string()),
    );
    let account = account.listed();
    let mut line = Line {
        log,
        done: Done {
            id: id.clone(),
            client,
            parent: traced(request.headers()),
            method: request.method().clone(),
            route: route.to_owned(),
            path: told(request.uri().path()),
            status: CLIENT_LEFT,
            time: std::time::Duration::ZERO,
            end: End::Left,
        },
        account: Arc::clone(&account),
        complete: false,
        _in_flight: InFlight::new(route),
    };
    let mut response = account.carry(next.run(request).instrument(span)).await;
    line.done.status = response.status().as_u16();
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(
        DROVER_VERSION,
        HeaderValue::from_static(env!("CARGO_PKG_VERSION")),
    );
    response.map(|body| {
        // HTTP sends no body in answers to HEAD.
        line.complete = body.is_end_stream() || line.done.method == Method::HEAD;
        Body::new(Watched::new(body, line))
    })
}

/// A path for the log.
fn told(path: &str) -> String {
    if path.len() <= MAX_PATH_BYTES {
        return path.to_owned();
    }
    format!("{}…", &path[..path.floor_char_boundary(MAX_PATH_BYTES)])
}

/// The trace of a client's request, in the format of W3C Trace Context.
fn traced(headers: &HeaderMap) -> Option<String> {
    const LENGTH: usize = "00-00000000000000000000000000000000-0000000000000000-00".len();
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let is_one = parent.len() == LENGTH
        && parent
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    is_one.then(|| parent.to_owned())
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
    log: Log,
    done: Done,
    account: Arc<Account>,
    complete: bool,
    _in_flight: InFlight,
}

impl Drop for Line {
    fn drop(&mut self) {
        let facts = self.account.facts();
        let Self { done, .. } = self;
        done.time = self.account.started.elapsed();
        done.end = match (&facts.broken, facts.finish) {
            (Some(_), _) => End::Broken,
            (None, _) if !self.complete => End::Left,
            (None, _) if done.status >= 500 => End::Failed,
            (None, _) if done.status >= 400 => End::Refused,
            (None, Some(finish)) => End::Finished(finish),
            (None, None) => End::Done,
        };
        let status = match done.end {
            End::Left => CLIENT_LEFT,
            _ => done.status,
        };
        metrics::request(&done.route, status, &facts.model, done.time);
        if done.end == End::Broken {
            metrics::broken(&done.route);
        }
        self.log.write(done, &facts);
    }
}

/// Notices the end of the body; the body is polled within the request's account.
impl Watch for Line {
    fn polled(&mut self, polled: &Polled, is_last: bool) {
        self.complete |= match polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => is_last,
            _ => false,
        };
    }

    fn around(&mut self, poll: impl FnOnce() -> Polled) -> Polled {
        Arc::clone(&self.account).enter(poll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_does_not_fill_the_log() {
        assert_eq!(told("/api/tags"), "/api/tags");
        let long = told(&"/\u{e9}".repeat(30_000));
        assert!(
            long.len() <= MAX_PATH_BYTES + 3 && long.ends_with("/…"),
            "{long}"
        );
    }
}
