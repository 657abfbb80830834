//! A part of a file being uploaded, and its hash for the registry.

use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use md5::{Digest as _, Md5};
use reqwest::Body;
use tokio::sync::watch;

/// Bytes read and sent at a time.
const CHUNK_BYTES: u64 = 256 * 1024;

/// A part of a file, which can be sent again.
#[derive(Debug, Clone)]
pub(super) struct Part {
    file: Arc<std::fs::File>,
    start: u64,
    end: u64,
    hash: Arc<Mutex<Hash>>,
    sent: watch::Sender<u64>,
}

/// Hashes every byte once, however often it is sent.
#[derive(Debug)]
struct Hash {
    md5: Md5,
    /// Bytes of the file up to here are hashed.
    end: u64,
}

impl Part {
    /// The bytes from `start` up to `end`; reports to `sent` how far the file was read.
    pub(super) fn new(
        file: &Arc<std::fs::File>,
        start: u64,
        end: u64,
        sent: &watch::Sender<u64>,
    ) -> Self {
        Self {
            file: Arc::clone(file),
            start,
            end,
            hash: Arc::new(Mutex::new(Hash {
                md5: Md5::new(),
                end: start,
            })),
            sent: sent.clone(),
        }
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// How far it has been read at least once.
    pub(super) fn read(&self) -> u64 {
        self.lock().end
    }

    /// The MD5 of the whole part, once it was sent.
    pub(super) fn md5(&self) -> [u8; 16] {
        self.lock().md5.clone().finalize().into()
    }

    /// The part's bytes from `from` on.
    pub(super) fn body(&self, from: u64) -> Body {
        self.sent.send_replace(from);
        let part = self.clone();
        let chunks = stream::try_unfold(from, move |at| {
            let part = part.clone();
            async move {
                let job = tokio::task::spawn_blocking(move || part.chunk(at));
                job.await.map_err(std::io::Error::from)?
            }
        });
        Body::wrap_stream(chunks)
    }

    /// Reads the bytes at `at`; `None` at the end.
    fn chunk(&self, at: u64) -> std::io::Result<Option<(Bytes, u64)>> {
        let length = CHUNK_BYTES.min(self.end - at);
        if length == 0 {
            return Ok(None);
        }
        let mut buffer = vec![0; usize::try_from(length).unwrap_or_default()];
        self.file.read_exact_at(&mut buffer, at)?;
        self.lock().update(&buffer, at);
        self.sent.send_replace(at + length);
        Ok(Some((buffer.into(), at + length)))
    }

    fn lock(&self) -> MutexGuard<'_, Hash> {
        self.hash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hash {
    fn update(&mut self, bytes: &[u8], at: u64) {
        let n_known = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let new = &bytes[n_known.min(bytes.len())..];
        self.md5.update(new);
        self.end += new.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_is_hashed_once() {
        let content = b"0123456789";
        let mut hash = Hash {
            md5: Md5::new(),
            end: 0,
        };
        for (start, end) in [(0, 4), (2, 3), (0, 6), (6, 6), (5, 10)] {
            hash.update(&content[start..end], start as u64);
        }
        assert_eq!(hash.md5.finalize(), Md5::digest(content));
    }
}
