//! Pull: manifest, blobs one after another, manifest into the store.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use super::download::Download;
use super::manifest::{self, Remote};
use super::retry::Retry;
use super::session::Session;
use super::{Inner, RegistryError, Teller, Wish, progress_ticks};
use crate::model::Digest;
use crate::plain;
use crate::store::Leftover;

/// Fetches a model, which replaces an old one of the same name.
pub(super) async fn run(
    inner: Arc<Inner>,
    wish: Wish,
    teller: Teller,
) -> Result<(), RegistryError> {
    teller.step("pulling manifest").await;
    let (mut sources, remote) = find(&inner, &wish)
        .await
        .map_err(|error| error.context("pull model manifest"))?;
    let mut pins = inner.store.pins();
    for (digest, _) in &remote.blobs {
        pins.add(*digest);
    }
    let (store, blobs) = (inner.store.clone(), remote.blobs.clone());
    tokio::task::spawn_blocking(move || store.check_room(&blobs))
        .await
        .map_err(std::io::Error::from)??;
    for blob in &remote.blobs {
        from_any(&inner, &mut sources, *blob, &teller).await?;
    }
    // Each blob was verified while it arrived.
    teller.step("verifying sha256 digest").await;
    teller.step("writing manifest").await;
    let store = inner.store.clone();
    let job = move || store.replace_bytes(&wish.name, &remote.bytes, pins);
    let leftover = tokio::task::spawn_blocking(job)
        .await
        .map_err(std::io::Error::from)??;
    if !matches!(leftover, Leftover::None) {
        teller.step("removing unused layers").await;
    }
    if let Leftover::Kept(error) = leftover {
        let error = error.to_string();
        let error = plain::without_paths(&error);
        let status = format!("couldn't remove unused layers: {error}");
        teller.step(&status).await;
    }
    teller.step("success").await;
    Ok(())
}

/// Asks the mirrors, then the registry itself. Returns the first one that has the manifest, and those after
/// it.
async fn find(
    inner: &Inner,
    wish: &Wish,
) -> Result<(VecDeque<Arc<Session>>, Remote), RegistryError> {
    let sessions = Session::candidates(&inner.http, &inner.settings, wish);
    let mut sessions: VecDeque<_> = sessions.into_iter().map(Arc::new).collect();
    let mut failed = RegistryError::NotFound;
    while let Some(session) = sessions.front() {
        let retry = Retry::short(inner.settings.first_delay);
        match manifest::fetch(session, retry).await {
            Ok(remote) => return Ok((sessions, remote)),
            Err(error) => {
                if sessions.len() > 1 {
                    tracing::info!(mirror = session.base(), %error, "a mirror does not have it");
                }
                failed = error;
            }
        }
        sessions.pop_front();
    }
    Err(failed)
}

/// Fetches one blob from the first source that has it; a source that does not answer is not asked again.
async fn from_any(
    inner: &Inner,
    sources: &mut VecDeque<Arc<Session>>,
    wanted: (Digest, u64),
    teller: &Teller,
) -> Result<(), RegistryError> {
    let (mut index, mut is_mixed) = (0, false);
    loop {
        let Some(session) = sources.get(index) else {
            return Err(RegistryError::NotFound);
        };
        let Err(error) = blob(inner, session, wanted, teller).await else {
            return Ok(());
        };
        // A previous source may have sent wrong data, which has been deleted.
        let is_mismatch = matches!(error, RegistryError::Mismatch { .. });
        if is_mixed && is_mismatch {
            is_mixed = false;
            continue;
        }
        if index + 1 == sources.len() || !error.is_the_registrys() {
            return Err(error);
        }
        tracing::warn!(digest = %wanted.0, mirror = session.base(), %error,
            "a mirror fails, the next one is asked");
        is_mixed = !is_mismatch;
        if matches!(error, RegistryError::Exhausted(_)) {
            sources.remove(index);
        } else {
            index += 1;
        }
    }
}

/// Waits for one blob and reports its progress.
async fn blob(
    inner: &Inner,
    session: &Arc<Session>,
    (digest, size): (Digest, u64),
    teller: &Teller,
) -> Result<(), RegistryError> {
    let flight = inner.flights.join(
        Download {
            session: Arc::clone(session),
            settings: inner.settings.clone(),
            store: inner.store.clone(),
            digest,
            size,
        },
        &inner.tasks,
    );
    let text = digest.to_string();
    let mut end = flight.end.clone();
    let mut tick = progress_ticks();
    loop {
        tokio::select! {
            biased;
            ended = ended(&mut end) => {
                ended?;
                teller.blob("pulling", &text, size, size).await;
                return Ok(());
            }
            _ = tick.tick() => {
                let completed = *flight.completed.borrow();
                teller.blob("pulling", &text, size, completed).await;
            }
        }
    }
}

/// Waits for the end of a download.
async fn ended(
    end: &mut watch::Receiver<Option<Result<(), RegistryError>>>,
) -> Result<(), RegistryError> {
    let known = end.wait_for(Option::is_some).await;
    // Without a result, the daemon is shutting down.
    let gone = Err(RegistryError::Transport("shutting down".to_owned()));
    known.ok().and_then(|end| end.clone()).unwrap_or(gone)
}
