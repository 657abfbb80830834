//! Connections: admitted, served as HTTP/1 or HTTP/2, and closed at a deadline.
//!
//! | What | Limit |
//! | --- | --- |
//! | connections, those of one origin, its requests at once | [`Limits`], [`table`] |
//! | connections; connections and concurrent requests of one origin | [`Limits`], [`table`] |
//! | an arriving body | [`body`] |
//! | a head's size | [`MAX_HEAD`], 100 lines (431) |
//! | refused clients that are being answered | [`Limits`]; more are closed at once |
//! | HTTP/2 | [`STREAMS`], [`WINDOW`], 16 KiB of headers; `h2` bounds resets, pings, settings and CONTINUATION frames |

mod activity;
mod body;
mod parting;
mod socket;
mod table;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{Response, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::error::{ApiError, spelled};
use super::limits::Limits;
use super::origin::{Peer, Proxies};
use super::tls::{self, Tls};
use super::watched::Watched;
use crate::error::ErrorKind;
use activity::{Activity, End};
use body::{Arriving, Leaving, Rest};
use table::{Place, Table};

pub(crate) use body::Stalled;

/// The most bytes of a request's head, and of one read of a body.
const MAX_HEAD: usize = 64 << 10;

/// The most concurrent requests on one HTTP/2 connection; they also count for their origin.
const STREAMS: u32 = 100;

/// Bytes of bodies that an HTTP/2 client may send ahead.
const WINDOW: u32 = 256 << 10;

/// The response to a connection when there is no free place.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json; charset=utf-8\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 32\r\n\r\n{\"error\":\"too many connections\"}";

/// What all connections share.
#[derive(Debug)]
pub(super) struct Connections {
    router: Router,
    limits: Arc<Limits>,
    proxies: Proxies,
    tls: Option<Arc<Tls>>,
    table: Arc<Table>,
    builder: Builder<TokioExecutor>,
    /// The number of refused connections since the start.
    n_refused: AtomicU64,
    /// Refused connections that are being answered.
    refusals: Arc<Semaphore>,
    /// Cancelled to end connections when they have no request.
    closing: CancellationToken,
    /// Cancelled to end all connections at once.
    cut: CancellationToken,
}

impl Connections {
    pub(super) fn new(
        router: Router,
        limits: Limits,
        proxies: Proxies,
        tls: Option<Arc<Tls>>,
        closing: CancellationToken,
    ) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().max_buf_size(MAX_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        let limits = Arc::new(limits);
        let refusals = Arc::new(Semaphore::new(limits.n_refused));
        Self {
            router,
            table: Table::new(Arc::clone(&limits)),
            limits,
            proxies,
            tls,
            builder,
            n_refused: AtomicU64::new(0),
            refusals,
            closing,
            cut: CancellationToken::new(),
        }
    }

    /// Ends all connections when it is dropped.
    pub(super) fn cut_on_drop(&self) -> tokio_util::sync::DropGuard {
        self.cut.clone().drop_guard()
    }

    /// Admits a new connection, or refuses it.
    pub(super) fn admit(self: &Arc<Self>, stream: TcpStream, peer: Peer) -> Admitted {
        if let Some(place) = self
            .table
            .admit(peer.origin(), self.proxies.contain(peer.0.ip()))
        {
            return Admitted::Served(Connection {
                shared: Arc::clone(self),
                stream,
                peer,
                place,
            });
        }
        let n_refused = self.n_refused.fetch_add(1, Ordering::Relaxed) + 1;
        // A flood of connections must not flood the log.
        if n_refused.is_power_of_two() {
            tracing::warn!(peer = %peer.0, n_refused, "too many connections, a client is sent away");
        }
        // A client that speaks TLS would not understand the answer.
        let answer: &[u8] = if self.tls.is_some() { b"" } else { FULL };
        match Arc::clone(&self.refusals).try_acquire_owned() {
            Ok(turn) => Admitted::Refused(Refusal {
                stream,
                answer,
                closing: self.closing.clone(),
                _turn: turn,
            }),
            Err(_) => {
                parting::part_now(&stream, answer);
                Admitted::Closed
            }
        }
    }
}

/// The outcome for a new connection.
#[derive(Debug)]
pub(super) enum Admitted {
    Served(Connection),
    /// There is no room, and no unused connection to replace.
    Refused(Refusal),
    /// Like `Refused`, but the client is already answered and the connection closed.
    Closed,
}

/// A refused connection.
#[derive(Debug)]
pub(super) struct Refusal {
    stream: TcpStream,
    answer: &'static [u8],
    closing: CancellationToken,
    _turn: OwnedSemaphorePermit,
}

impl Refusal {
    /// Sends the refusal to the client.
    pub(super) async fn tell(self) {
        let telling = parting::part(self.stream, self.answer);
        self.closing.run_until_cancelled(telling).await;
    }
}

/// An admitted connection.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Connections>,
    stream: TcpStream,
    peer: Peer,
    place: Place,
}

impl Connection {
    /// Serves the connection's requests until it ends.
    pub(super) async fn serve(self) {
        let Self {
            shared,
            stream,
            peer,
            place,
        } = self;
        let limits = &shared.limits;
        let socket =
            |stream| socket::Socket::new(stream, limits.stall, Arc::clone(&place.activity));
        let Some(tls) = &shared.tls else {
            return drive(&shared, &place, peer, socket(stream)).await;
        };
        let secured = async {
            match tls::first_byte(&stream, limits.head).await? {
                tls::HANDSHAKE => tls.accept(socket(stream), limits.head).await,
                byte => {
                    if byte.is_ascii_uppercase() {
                        parting::part(stream, tls::PLAIN).await;
                    }
                    None
                }
            }
        };
        let secured = tokio::select! {
            secured = secured => secured,
            () = shared.closing.cancelled() => None,
            () = place.activity.unwanted.notified() => None,
        };
        if let Some(stream) = secured {
            // Boxed, since the state of TLS is large.
            drive(&shared, &place, peer, Box::new(stream)).await;
        }
    }
}

/// Serves the requests of a connection.
async fn drive<S>(shared: &Arc<Connections>, place: &Place, peer: Peer, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = &place.activity;
    let service = service_fn(|request| respond(shared, activity, peer, request));
    let http = shared
        .builder
        .serve_connection(TokioIo::new(stream), service);
    let mut http = pin!(http);
    let mut watch = Watch::new(Arc::clone(activity), Arc::clone(&shared.limits));
    loop {
        let end = tokio::select! {
            biased;
            () = shared.cut.cancelled() => return,
            ended = http.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %peer.0, %error, "a connection broke");
                }
                return;
            }
            end = watch.end() => end,
            () = shared.closing.cancelled(), if !watch.is_closing => End::Unused,
            () = activity.unwanted.notified(), if !watch.is_closing => End::Unused,
        };
        if end == End::Unread {
            tracing::info!(peer = %peer.0, "a client takes nothing of its answer and is cut off");
            return;
        }
        if watch.is_closing {
            return;
        }
        watch.is_closing = true;
        activity.close(Instant::now());
        http.as_mut().graceful_shutdown();
    }
}

/// Passes a request to the routes.
fn respond(
    shared: &Arc<Connections>,
    activity: &Arc<Activity>,
    peer: Peer,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Watched<Leaving>>, Infallible>> + 'static {
    let running = activity.begin(request.version() == Version::HTTP_2);
    // Each request on a proxy's connection may be from another client.
    let peer = shared.proxies.client(peer, request.headers());
    let counted = shared.table.begin(peer.origin());
    let (router, stall) = (shared.router.clone(), shared.limits.stall);
    async move {
        // A client that expects `100 Continue` waits before sending.
        let waits = request.headers().contains_key(header::EXPECT);
        let rest = Rest::default();
        let mut request = request.map(|body| {
            if body.is_end_stream() {
                return Body::empty();
            }
            Body::new(rest.of(Arriving::new(body, stall), waits))
        });
        let response = if counted.is_some() {
            request.extensions_mut().insert(ConnectInfo(peer));
            let Ok(response) = router.oneshot(request).await;
            response
        } else {
            let (head, body) = request.into_parts();
            drop(body);
            too_many(head.uri.path())
        };
        rest.read().await;
        Ok(response.map(|body| Watched::new(body, Leaving::new(running, counted))))
    }
}

fn too_many(path: &str) -> Response<Body> {
    let error = ApiError::new(
        ErrorKind::Overloaded,
        "too many requests at once from this address",
    );
    spelled(error, path)
}

/// Watches one connection's deadline.
#[derive(Debug)]
struct Watch {
    activity: Arc<Activity>,
    limits: Arc<Limits>,
    timer: Pin<Box<Sleep>>,
    is_closing: bool,
}

impl Watch {
    fn new(activity: Arc<Activity>, limits: Arc<Limits>) -> Self {
        let timer = tokio::time::sleep(limits.head);
        Self {
            activity,
            limits,
            timer: Box::pin(timer),
            is_closing: false,
        }
    }

    /// Waits until the connection has to end.
    async fn end(&mut self) -> End {
        poll_fn(|context| self.poll_end(context)).await
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<End> {
        while let Some((deadline, end)) = self.activity.deadline(&self.limits) {
            // Deadlines usually move with every byte, so the timer is only reset when it has fired.
            if self.timer.is_elapsed() || deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
            ready!(self.timer.as_mut().poll(context));
            if deadline <= Instant::now() {
                return Poll::Ready(end);
            }
        }
        Poll::Pending
    }
}
