//! A file as the body of an answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use futures_util::Stream as _;
use http_body::{Frame, SizeHint};
use tokio_util::io::ReaderStream;

/// Bytes that are read from disk at a time.
const READ_BYTES: usize = 256 << 10;

/// The bytes of a file, of known length.
#[derive(Debug)]
pub(super) struct Content {
    pieces: ReaderStream<tokio::fs::File>,
    n_left: u64,
}

impl Content {
    pub(super) fn new(file: tokio::fs::File, length: u64) -> Self {
        Self {
            pieces: ReaderStream::with_capacity(file, READ_BYTES),
            n_left: length,
        }
    }
}

impl HttpBody for Content {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.n_left == 0 {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.pieces).poll_next(context);
        polled.map(|piece| {
            let piece = piece.unwrap_or_else(|| Err(std::io::ErrorKind::UnexpectedEof.into()));
            Some(piece.map(|mut piece| {
                let length = usize::try_from(self.n_left).unwrap_or(usize::MAX);
                piece.truncate(length);
                self.n_left -= piece.len() as u64;
                Frame::data(piece)
            }))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.n_left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.n_left)
    }
}
