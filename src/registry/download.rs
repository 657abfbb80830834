//! Downloads one blob: all parts concurrently, each from where it stopped, until the digest matches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::retry::Retry;
use super::session::Session;
use super::{RegistryError, Settings, hasher};
use crate::model::Digest;
use crate::store::{Partial, Store};

/// How many parts are fetched concurrently.
const AT_ONCE: usize = 16;

/// Bytes that are buffered before a write; the buffers of all parts fit the CPU cache.
const WRITE_BYTES: usize = 1 << 18;

/// How often the parts' progress is saved; a killed process loses no more than that.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How long buffered bytes may wait for their write.
const WRITE_EVERY: Duration = Duration::from_millis(500);

/// How often to check whether another process has finished the blob.
const POLL: Duration = Duration::from_millis(500);

/// A blob to fetch, and its source.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) session: Arc<Session>,
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Download {
    /// Fetches the blob unless it is present; reports progress to `completed`.
    ///
    /// # Errors
    /// See [`RegistryError`]; fetched data is kept for the next attempt unless its digest is wrong.
    pub(super) async fn run(
        &self,
        completed: &watch::Sender<u64>,
        cancel: &CancellationToken,
    ) -> Result<(), RegistryError> {
        let Some(mut partial) = self.open(cancel).await? else {
            return Ok(());
        };
        let fetched = tokio::select! {
            fetched = self.fetch(&mut partial, completed) => fetched,
            () = cancel.cancelled() => Err(canceled()),
        };
        let want = self.digest;
        blocking(move || {
            match fetched {
                Ok(got) if got == want => partial.finish()?,
                Ok(got) => {
                    partial.discard()?;
                    return Err(RegistryError::Mismatch { want, got });
                }
                Err(error) => {
                    // The first error matters more than a failed save.
                    if let Err(error) = partial.save() {
                        tracing::warn!(%error, "how far a download is could not be saved");
                    }
                    return Err(error);
                }
            }
            Ok(())
        })
        .await
    }

    /// Opens the partial file; `None` when the blob is present, possibly fetched by another process.
    async fn open(
        &self,
        cancel: &CancellationToken,
    ) -> Result<Option<Arc<Partial>>, RegistryError> {
        loop {
            let (store, digest, size) = (self.store.clone(), self.digest, self.size);
            let part_size = self.settings.download_parts.of(size);
            let opened = blocking(move || {
                if store.has_blob_of_size(&digest, size) {
                    return Ok(None);
                }
                Ok(Some(store.partial(digest, size, part_size)?))
            });
            match opened.await? {
                None => return Ok(None),
                Some(Some(partial)) => return Ok(Some(Arc::new(partial))),
                // Another process is fetching it.
                Some(None) => tokio::select! {
                    () = tokio::time::sleep(POLL) => {}
                    () = cancel.cancelled() => return Err(canceled()),
                },
            }
        }
    }

    /// Fetches what is missing and returns the digest of the whole.
    async fn fetch(
        &self,
        partial: &mut Arc<Partial>,
        completed: &watch::Sender<u64>,
    ) -> Result<Digest, RegistryError> {
        if partial.parts().len() > 1 && !self.sends_parts().await? {
            tracing::info!(digest = %self.digest, "the registry sends no parts of blobs");
            if let Some(partial) = Arc::get_mut(partial) {
                partial.restart_whole()?;
            }
        }
        let partial: &Arc<Partial> = partial;
        completed.send_replace(partial.completed());
        let (contiguous, follower) = watch::channel(partial.contiguous());
        let parts = stream::iter(0..partial.parts().len())
            .map(|index| self.part(partial, index, (completed, &contiguous)))
            .buffer_unordered(AT_ONCE)
            .try_for_each(|()| std::future::ready(Ok(())));
        let digest = hasher::digest(Arc::clone(partial), follower);
        tokio::select! {
            both = async { tokio::try_join!(parts, digest) } => both.map(|((), digest)| digest),
            error = save_often(partial) => Err(error),
        }
    }

    /// Whether the registry supports range requests.
    async fn sends_parts(&self) -> Result<bool, RegistryError> {
        let mut retry = Retry::new(self.settings.first_delay);
        loop {
            match self.get(0..1).await {
                Ok(response) if response.status() == StatusCode::PARTIAL_CONTENT => {
                    self.check_range(&response, 0)?;
                    return Ok(true);
                }
                Ok(_) => return Ok(false),
                Err(error) => retry.after(error).await?,
            }
        }
    }

    /// Fetches a part to its end.
    async fn part(
        &self,
        partial: &Arc<Partial>,
        index: usize,
        progress: (&watch::Sender<u64>, &watch::Sender<u64>),
    ) -> Result<(), RegistryError> {
        let part = &partial.parts()[index];
        let mut retry = Retry::new(self.settings.first_delay);
        while !part.missing().is_empty() {
            let before = part.completed();
            let outcome = self.attempt(partial, index, progress).await;
            if part.completed() > before {
                retry.progressed();
            }
            if let Err(error) = outcome {
                retry.after(error).await?;
            }
        }
        Ok(())
    }

    /// One request for the missing bytes of a part.
    async fn attempt(
        &self,
        partial: &Arc<Partial>,
        index: usize,
        (completed, contiguous): (&watch::Sender<u64>, &watch::Sender<u64>),
    ) -> Result<(), RegistryError> {
        let missing = partial.parts()[index].missing();
        let mut left = missing.end - missing.start;
        let mut response = self.get(missing.clone()).await?;
        // A registry without range requests sends the bytes again that are already here.
        let mut n_skipped = 0;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            self.check_range(&response, missing.start)?;
        } else if partial.parts().len() == 1 {
            n_skipped = usize::try_from(missing.start).unwrap_or(usize::MAX);
        } else {
            return Err(self.lies("a whole blob instead of a part"));
        }
        let mut gathered = Gathered::default();
        while left > 0 {
            let chunk = response.chunk().await;
            let ended = !matches!(chunk, Ok(Some(_)));
            let n_received = chunk
                .as_ref()
                .map_or(0, |chunk| chunk.as_ref().map_or(0, Bytes::len));
            if let Ok(Some(chunk)) = &chunk {
                let chunk = chunk.slice(n_skipped.min(chunk.len())..);
                let n_taken = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                gathered.push(chunk.slice(..n_taken));
                left -= n_taken as u64;
                if n_taken < chunk.len() {
                    write(partial, index, gathered).await?;
                    return Err(self.lies("more bytes than were asked for"));
                }
            }
            n_skipped -= n_skipped.min(n_received);
            // Bytes that arrived before the connection broke count.
            let is_due = gathered.n_bytes >= WRITE_BYTES || gathered.since.elapsed() >= WRITE_EVERY;
            if is_due || left == 0 || ended {
                let n_written = gathered.n_bytes as u64;
                write(partial, index, std::mem::take(&mut gathered)).await?;
                completed.send_modify(|completed| *completed += n_written);
                contiguous.send_replace(partial.contiguous());
            }
            if ended && left > 0 {
                chunk?;
                return Err(RegistryError::Transport(
                    "the connection was closed before the end".to_owned(),
                ));
            }
        }
        Ok(())
    }

    async fn get(&self, range: std::ops::Range<u64>) -> Result<Response, RegistryError> {
        let url = self.session.blob_url(&self.digest.to_string());
        let range = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        self.session
            .send(|client| client.get(&url).header(RANGE, &range))
            .await
    }

    /// Checks `Content-Range: bytes START-END/TOTAL`.
    fn check_range(&self, response: &Response, start: u64) -> Result<(), RegistryError> {
        let header = response.headers().get(CONTENT_RANGE);
        let text = header
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let (range, total) = text
            .strip_prefix("bytes ")
            .and_then(|text| text.split_once('/'))
            .unwrap_or_default();
        let begins = range.split_once('-').map(|(start, _)| start);
        if begins.and_then(|begins| begins.parse().ok()) != Some(start) {
            return Err(self.lies("another part than was asked for"));
        }
        match total.parse::<u64>() {
            Ok(total) if total != self.size => Err(RegistryError::Malformed(format!(
                "the registry has {total} bytes of {}, its manifest says {}",
                self.digest, self.size
            ))),
            _ => Ok(()),
        }
    }

    fn lies(&self, what: &str) -> RegistryError {
        RegistryError::Malformed(format!("the registry sent {what} ({})", self.digest))
    }
}

/// The unwritten bytes of a part, in the chunks in which they arrived.
#[derive(Debug)]
struct Gathered {
    chunks: Vec<Bytes>,
    n_bytes: usize,
    since: Instant,
}

impl Default for Gathered {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            n_bytes: 0,
            since: Instant::now(),
        }
    }
}

impl Gathered {
    fn push(&mut self, chunk: Bytes) {
        self.n_bytes += chunk.len();
        self.chunks.push(chunk);
    }
}

/// Writes the buffered bytes.
async fn write(
    partial: &Arc<Partial>,
    index: usize,
    gathered: Gathered,
) -> Result<(), RegistryError> {
    let partial = Arc::clone(partial);
    blocking(move || {
        let part = &partial.parts()[index];
        for chunk in gathered.chunks {
            partial.write(part, &chunk)?;
        }
        Ok(())
    })
    .await
}

/// Saves the parts' progress periodically; ends only with an error.
async fn save_often(partial: &Arc<Partial>) -> RegistryError {
    loop {
        tokio::time::sleep(SAVE_EVERY).await;
        let partial = Arc::clone(partial);
        if let Err(error) = blocking(move || Ok(partial.save()?)).await {
            return error;
        }
    }
}

/// Runs blocking work on tokio's blocking pool.
async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    tokio::task::spawn_blocking(job)
        .await
        .map_err(std::io::Error::from)?
}

fn canceled() -> RegistryError {
    RegistryError::Transport("the download was canceled".to_owned())
}
