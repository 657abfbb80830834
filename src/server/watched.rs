//! A response body with a watcher that observes its pieces, or only lives as long as the body.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

/// The result of polling a body.
pub(super) type Polled = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// The watcher of a body. It is dropped with the body, at the end of the response or when the client
/// leaves.
pub(super) trait Watch: Unpin {
    /// The body was polled; `is_last` = nothing follows this piece.
    fn polled(&mut self, polled: &Polled, is_last: bool) {
        let _ = (polled, is_last);
    }

    /// Polls the body.
    fn around(&mut self, poll: impl FnOnce() -> Polled) -> Polled {
        poll()
    }
}

/// A body and its watcher.
#[derive(Debug)]
pub(super) struct Watched<W> {
    body: Body,
    watch: W,
}

impl<W> Watched<W> {
    pub(super) fn new(body: Body, watch: W) -> Self {
        Self { body, watch }
    }
}

impl<W: Watch> HttpBody for Watched<W> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let Self { body, watch } = &mut *self;
        let polled = watch.around(|| Pin::new(&mut *body).poll_frame(context));
        watch.polled(&polled, body.is_end_stream());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
