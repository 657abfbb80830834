//! Limits the memory of frames that wait to be sent to a runner.
//!
//! While a runner does not read, requests with a long prompt or images wait here, before these are encoded a
//! second time. Short frames never wait: the number of leases bounds them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::protocol::Command;

/// The unit of accounting; shorter frames are not counted.
const BLOCK: usize = 64 << 10;

/// Blocks of all frames of a runner: 256 MiB. A longer frame is sent alone.
const N_BLOCKS: usize = 4096;

/// The frames of one runner.
#[derive(Debug)]
pub(super) struct Frames(Arc<Semaphore>);

impl Default for Frames {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(N_BLOCKS)))
    }
}

/// Room for one frame.
#[derive(Debug)]
pub(super) struct Room(Option<OwnedSemaphorePermit>);

/// A frame with its room, which is given back when the frame is written or withdrawn.
struct Held {
    frame: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl Frames {
    /// Waits for room for a command's frame.
    pub(super) async fn room(&self, command: &Command) -> Room {
        let n_blocks = (command.n_bytes() / BLOCK).min(N_BLOCKS);
        let n_blocks = u32::try_from(n_blocks).unwrap_or(u32::MAX);
        if n_blocks == 0 {
            return Room(None);
        }
        // The semaphore is never closed.
        Room(Arc::clone(&self.0).acquire_many_owned(n_blocks).await.ok())
    }
}

impl Room {
    /// Keeps the room for as long as the frame exists.
    pub(super) fn hold(self, frame: Bytes) -> Bytes {
        match self.0 {
            None => frame,
            Some(room) => Bytes::from_owner(Held { frame, _room: room }),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn tokenize(n_bytes: usize) -> Command {
        Command::Tokenize {
            id: 1,
            texts: vec!["x".repeat(n_bytes)],
            add_special: false,
            parse_special: false,
            limit: None,
            client: String::new(),
        }
    }

    #[tokio::test]
    async fn long_frames_wait_for_those_before_and_short_ones_do_not() {
        let frames = Frames::default();
        let half = tokenize(N_BLOCKS / 2 * BLOCK);
        let first = frames.room(&half).await.hold(Bytes::from_static(b"one"));
        let second = frames.room(&half).await.hold(Bytes::from_static(b"two"));
        assert!(frames.room(&half).now_or_never().is_none());
        assert!(frames.room(&tokenize(1000)).now_or_never().is_some());
        assert_eq!(&first[..], b"one");
        drop(first);
        assert!(frames.room(&half).now_or_never().is_some());
        // A frame longer than the limit of all frames gets through alone.
        let longest = tokenize((N_BLOCKS + 5) * BLOCK);
        assert!(frames.room(&longest).now_or_never().is_none());
        drop(second);
        assert!(frames.room(&longest).now_or_never().is_some());
    }
}
