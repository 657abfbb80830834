//! Bodies on a connection: a request's body, which must not stall, and an answer's, whose end is the end of the
//! request.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::HttpBody;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep};

use super::activity::Running;
use super::table::Counted;
use crate::server::watched::{Polled, Watch};

/// The least rate after the first [`Arriving::limit`]: slower than any real link.
const BYTES_PER_SECOND: u64 = 1024;

/// The client did not send the rest of its request in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("timed out waiting for the rest of the request's body")]
pub(crate) struct Stalled;

/// A request's body. It fails with [`Stalled`] when nothing arrives for `limit`, or too little. Time in which nobody
/// reads the body does not count.
#[derive(Debug)]
pub(super) struct Arriving<B> {
    body: B,
    limit: Duration,
    n_received: u64,
    /// The total time spent waiting for the client.
    waited: Duration,
    waiting_since: Option<Instant>,
    /// Created on first use.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Arriving<B> {
    pub(super) fn new(body: B, limit: Duration) -> Self {
        Self {
            body,
            limit,
            n_received: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            timer: None,
        }
    }

    /// Records that bytes have arrived.
    fn received(&mut self, n_bytes: usize) {
        self.n_received += n_bytes as u64;
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Ready when the client has taken too long.
    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.waiting_since.is_none() {
            let now = Instant::now();
            self.waiting_since = Some(now);
            let earned = Duration::from_secs(self.n_received / BYTES_PER_SECOND);
            let left = (self.limit + earned).saturating_sub(self.waited);
            let deadline = now + left.min(self.limit);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(deadline),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
            }
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl<B> HttpBody for Arriving<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok());
                self.received(data.and_then(Frame::data_ref).map_or(0, Bytes::len));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => match self.poll_timeout(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Stalled.into()))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The most bytes that are read of a body's unneeded rest, and the most time spent on it.
const DRAINED: usize = 32 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The unread rest of a request's body. It is read for a while and discarded: many clients read the answer
/// only after they have sent everything, and would otherwise get a connection error.
#[derive(Debug)]
pub(super) struct Rest<B>(Arc<Mutex<Option<B>>>);

impl<B> Default for Rest<B> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> Rest<B> {
    /// Makes the body for the handler. What the handler leaves unread comes back, unless the client `waits` for
    /// `100 Continue` and sends nothing.
    pub(super) fn of(&self, body: B, waits: bool) -> Returning<B> {
        Returning {
            body: Some(body),
            waits,
            rest: Arc::clone(&self.0),
        }
    }

    /// Reads the rest that came back.
    pub(super) async fn read(self) {
        let rest = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = rest else { return };
        let reading = async {
            let mut n_read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                n_read += frame.data_ref().map_or(0, Bytes::len);
                if n_read > DRAINED {
                    return;
                }
            }
        };
        // After this time, stop: the client has its answer.
        let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
    }
}

/// A request's body that returns itself when it is dropped.
#[derive(Debug)]
pub(super) struct Returning<B: HttpBody> {
    /// `None` = it has failed.
    body: Option<B>,
    waits: bool,
    rest: Arc<Mutex<Option<B>>>,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Returning<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.waits = false;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(HttpBody::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl<B: HttpBody> Drop for Returning<B> {
    fn drop(&mut self) {
        let is_coming = |body: &B| !self.waits && !body.is_end_stream();
        if let Some(body) = self.body.take().filter(is_coming) {
            *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

/// An answer's body. Its request counts as running until this is dropped.
#[derive(Debug)]
pub(super) struct Leaving {
    running: Running,
    _counted: Option<Counted>,
}

impl Leaving {
    pub(super) fn new(running: Running, counted: Option<Counted>) -> Self {
        // If an HTTP/2 client opens no window, the first piece is never polled.
        running.handed(true, Instant::now());
        Self {
            running,
            _counted: counted,
        }
    }
}

impl Watch for Leaving {
    fn polled(&mut self, polled: &Polled, _is_last: bool) {
        self.running.handed(polled.is_ready(), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{Stream, StreamExt as _, stream};
    use http_body_util::StreamBody;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Pieces of `size` bytes, `pause` seconds apart.
    fn pieces(size: usize, pause: u64) -> impl Stream<Item = Result<Frame<Bytes>, axum::Error>> {
        stream::repeat(()).then(move |()| async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            Ok(Frame::data(Bytes::from(vec![b'x'; size])))
        })
    }

    /// Reads `n` pieces, or until an error, and returns how many arrived and how long it took.
    async fn read(
        pieces: impl Stream<Item = Result<Frame<Bytes>, axum::Error>>,
        n: usize,
    ) -> (usize, Duration) {
        let started = Instant::now();
        let mut body = Arriving::new(Box::pin(StreamBody::new(Box::pin(pieces))), LIMIT);
        for count in 0..n {
            if let Err(error) = body.frame().await.unwrap() {
                assert!(error.is::<Stalled>());
                return (count, started.elapsed());
            }
        }
        (n, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        assert_eq!(read(stream::pending(), 1).await, (0, LIMIT));
        let stalls = pieces(1 << 20, 0).take(10).chain(stream::pending());
        assert_eq!(read(stalls, 11).await, (10, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_link_is_waited_for_and_a_trickle_is_not() {
        assert_eq!(read(pieces(60_000, 50), 100).await.0, 100);
        let (n_bytes, took) = read(pieces(1, 1), 1000).await;
        assert!(n_bytes < 61 && took <= LIMIT, "{n_bytes} {took:?}");
        let (n_pieces, took) = read(pieces(512, 1), 1000).await;
        assert!(
            n_pieces < 130 && took < 2 * LIMIT + LIMIT,
            "{n_pieces} {took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_time_does_not_count() {
        let mut body = Arriving::new(StreamBody::new(Box::pin(pieces(1, 1))), LIMIT);
        for _ in 0..50 {
            body.frame().await.unwrap().unwrap();
            tokio::time::sleep(LIMIT).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_handler_leaves_is_read_within_a_bound() {
        let n_read = |n: usize, size: usize, pause: u64| async move {
            let count = Arc::new(Mutex::new(0));
            let counted = Arc::clone(&count);
            let body = pieces(size, pause).take(n);
            let body = body.inspect(move |_| *counted.lock().unwrap() += 1);
            let rest = Rest::default();
            let mut returning = rest.of(StreamBody::new(Box::pin(body)), true);
            returning.frame().await.unwrap().unwrap();
            drop(returning);
            let started = Instant::now();
            rest.read().await;
            let n_read = *count.lock().unwrap();
            (n_read, started.elapsed())
        };
        assert_eq!(n_read(5, 1 << 20, 0).await, (5, Duration::ZERO));
        assert_eq!(n_read(1000, 1 << 20, 0).await.0, 34);
        assert_eq!(n_read(1000, 1, 3).await, (1, DRAIN_TIME));
        // A body that was read to its end does not come back.
        let rest = Rest::default();
        let mut returning = rest.of(StreamBody::new(Box::pin(pieces(1, 0).take(1))), false);
        while returning.frame().await.is_some() {}
        drop(returning);
        rest.read().await;
        // A client that waits sends nothing.
        let rest = Rest::default();
        drop(rest.of(StreamBody::new(Box::pin(pieces(1, 1))), true));
        let started = Instant::now();
        rest.read().await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
