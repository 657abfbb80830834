//! Frames on their way to a runner.
//!
//! A runner that does not read is busy or stopped for a moment, not dead: frames wait here, and a request
//! that is cancelled meanwhile is never sent. Short commands go before requests. The leases that the
//! scheduler grants bound the number of waiting frames.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio::net::UnixStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::protocol::RequestId;

pub(super) type Sink = SplitSink<Framed<UnixStream, LengthDelimitedCodec>, Bytes>;

/// Bytes per write: what is in the socket's buffer can no longer be withdrawn.
const BATCH_BYTES: usize = 64 << 10;

/// Frames that are not yet written.
#[derive(Debug, Default)]
struct Waiting {
    commands: VecDeque<Bytes>,
    requests: VecDeque<(RequestId, Bytes)>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.requests.is_empty()
    }

    /// Removes a request; false if it is not here.
    fn withdraw(&mut self, id: RequestId) -> bool {
        let index = self.requests.iter().position(|(waiting, _)| *waiting == id);
        index
            .and_then(|index| self.requests.remove(index))
            .is_some()
    }

    /// Takes the frames to write next: all commands, and at least one request if there is any.
    fn batch(&mut self) -> Vec<Bytes> {
        let mut frames: Vec<Bytes> = self.commands.drain(..).collect();
        let mut n_bytes = 0;
        while n_bytes < BATCH_BYTES
            && let Some((_, frame)) = self.requests.pop_front()
        {
            n_bytes += frame.len();
            frames.push(frame);
        }
        frames
    }
}

type Writing = Pin<Box<dyn Future<Output = Result<Sink, std::io::Error>> + Send>>;

/// Writes frames; owned by the process task.
pub(super) struct Outgoing {
    waiting: Waiting,
    /// `None` while a batch is written, and when the channel is broken.
    sink: Option<Sink>,
    writing: Option<Writing>,
}

impl Outgoing {
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            waiting: Waiting::default(),
            sink: Some(sink),
            writing: None,
        }
    }

    /// Queues a request.
    pub(super) fn request(&mut self, id: RequestId, frame: Bytes) {
        self.waiting.requests.push_back((id, frame));
    }

    /// Queues a command that goes before all requests.
    pub(super) fn command(&mut self, frame: Bytes) {
        self.waiting.commands.push_back(frame);
    }

    /// Withdraws a request that was not yet sent; false if it was.
    pub(super) fn withdraw(&mut self, id: RequestId) -> bool {
        self.waiting.withdraw(id)
    }

    /// Writes the next frames, or waits until there are some; false when the channel is broken.
    /// Cancel-safe.
    pub(super) async fn write(&mut self) -> bool {
        if self.writing.is_none() {
            if self.waiting.is_empty() {
                // The caller drops this future when something is queued.
                std::future::pending::<()>().await;
            }
            let Some(sink) = self.sink.take() else {
                return false;
            };
            self.writing = Some(Box::pin(write_all(sink, self.waiting.batch())));
        }
        let Some(writing) = &mut self.writing else {
            return false;
        };
        let written = writing.await;
        self.writing = None;
        match written {
            Ok(sink) => {
                self.sink = Some(sink);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the channel to the runner is closed");
                false
            }
        }
    }

    /// Writes the waiting commands and drops the requests.
    pub(super) async fn finish(mut self) {
        self.waiting.requests.clear();
        while (self.writing.is_some() || !self.waiting.is_empty()) && self.write().await {}
    }
}

async fn write_all(mut sink: Sink, frames: Vec<Bytes>) -> std::io::Result<Sink> {
    for frame in frames {
        sink.feed(frame).await?;
    }
    sink.flush().await?;
    Ok(sink)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Bytes {
        Bytes::from(text.to_owned())
    }

    #[test]
    fn commands_overtake_and_what_is_not_sent_can_be_taken_back() {
        let mut waiting = Waiting::default();
        let long = "x".repeat(BATCH_BYTES);
        for (id, text) in [(1, "one"), (2, "two"), (3, long.as_str()), (4, "four")] {
            waiting.requests.push_back((id, frame(text)));
        }
        waiting.commands.push_back(frame("cancel"));
        assert!(waiting.withdraw(2) && !waiting.withdraw(2));
        assert_eq!(
            waiting.batch(),
            [frame("cancel"), frame("one"), frame(&long)]
        );
        waiting.commands.push_back(frame("ping"));
        assert_eq!(waiting.batch(), [frame("ping"), frame("four")]);
        assert!(waiting.is_empty());
    }
}
