//! Computes a blob's digest while it downloads, following the bytes that are complete from the start.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::RegistryError;
use crate::model::Digest;
use crate::store::{Partial, StoreError};

/// Bytes read at a time; they stay in the CPU cache.
const CHUNK_BYTES: usize = 1 << 18;

/// Follows `contiguous` to the end of the blob and returns the digest.
///
/// # Errors
/// The file cannot be read, or the download ended early.
pub(super) async fn digest(
    partial: Arc<Partial>,
    mut contiguous: watch::Receiver<u64>,
) -> Result<Digest, RegistryError> {
    let mut hash = Sha256::new();
    let mut at = 0;
    while at < partial.size() {
        let end = *contiguous
            .wait_for(|end| *end > at)
            .await
            .map_err(|_| RegistryError::Transport("the download has ended".to_owned()))?;
        let file = Arc::clone(&partial);
        let job = tokio::task::spawn_blocking(move || hash_range(&file, hash, at..end));
        hash = job.await.map_err(std::io::Error::from)??;
        at = end;
    }
    Ok(Digest::from_bytes(hash.finalize().into()))
}

fn hash_range(
    partial: &Partial,
    mut hash: Sha256,
    range: std::ops::Range<u64>,
) -> Result<Sha256, StoreError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at).unwrap_or(CHUNK_BYTES);
        let chunk = &mut buffer[..length.min(CHUNK_BYTES)];
        partial.read(chunk, at)?;
        hash.update(&chunk);
        at += chunk.len() as u64;
    }
    Ok(hash)
}
