//! A response body that counts against its key's limits until its end, and breaks off when the key is revoked.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use http_body::SizeHint;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::keys::Place;
use crate::server::watched::Polled;

/// What ties an answer to its key.
#[derive(Debug)]
pub(super) struct Bound {
    /// Released at the answer's end.
    _place: Option<Place>,
    revoked: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Bound {
    pub(super) fn new(place: Option<Place>, revoked: CancellationToken) -> Self {
        Self {
            _place: place,
            revoked: Box::pin(revoked.cancelled_owned()),
        }
    }
}

/// The body of an answer to a request with a key.
#[derive(Debug)]
pub(super) struct Revocable {
    body: Body,
    bound: Bound,
}

impl Revocable {
    pub(super) fn new(body: Body, bound: Bound) -> Self {
        Self { body, bound }
    }
}

impl HttpBody for Revocable {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        if self.bound.revoked.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new("the API key was revoked"))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn an_answer_in_progress_ends_with_its_key() {
        let revoked = CancellationToken::new();
        let pieces = stream::iter([Ok::<_, axum::Error>("one")]).chain(stream::pending());
        let body = Body::from_stream(pieces);
        let mut body = Revocable::new(body, Bound::new(None, revoked.clone()));
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "one");
        assert!(body.frame().now_or_never().is_none());
        let waiting = tokio::join!(body.frame(), async { revoked.cancel() });
        assert!(waiting.0.unwrap().is_err());
    }
}
