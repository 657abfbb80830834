//! Pull: manifest, blobs one after another, manifest into the store.

use std::sync::Arc;

use tokio::sync::watch;

use super::download::Download;
use super::manifest::{self, Remote};
use super::retry::Retry;
use super::session::Session;
use super::{Inner, RegistryError, Teller, progress_ticks};
use crate::model::{Digest, ModelName};

/// Fetches a model and puts it in the place of an old one of its name.
pub(super) async fn run(
    inner: Arc<Inner>,
    name: ModelName,
    insecure: bool,
    teller: Teller,
) -> Result<(), RegistryError> {
    teller.step("pulling manifest").await;
    let (session, remote) = find(&inner, &name, insecure)
        .await
        .map_err(|error| error.context("pull model manifest"))?;
    let session = Arc::new(session);
    let mut pins = inner.store.pins();
    for (digest, _) in &remote.blobs {
        pins.add(*digest);
    }
    for &(digest, size) in &remote.blobs {
        blob(&inner, &session, (digest, size), &teller).await?;
    }
    // Each was verified while it arrived.
    teller.step("verifying sha256 digest").await;
    teller.step("writing manifest").await;
    let store = inner.store.clone();
    let job = move || store.replace_bytes(&name, &remote.bytes, pins);
    let was_replaced = tokio::task::spawn_blocking(job)
        .await
        .map_err(std::io::Error::from)??;
    if was_replaced {
        teller.step("removing unused layers").await;
    }
    teller.step("success").await;
    Ok(())
}

/// Asks the mirrors, then the registry itself.
async fn find(
    inner: &Inner,
    name: &ModelName,
    insecure: bool,
) -> Result<(Session, Remote), RegistryError> {
    let sessions = Session::candidates(&inner.http, &inner.settings, name, insecure);
    let n_mirrors = sessions.len() - 1;
    let mut failed = RegistryError::NotFound;
    for (index, session) in sessions.into_iter().enumerate() {
        let retry = Retry::short(inner.settings.first_delay);
        match manifest::fetch(&session, retry).await {
            Ok(remote) => return Ok((session, remote)),
            Err(error) => {
                if index < n_mirrors {
                    tracing::info!(mirror = session.base(), %error, "a mirror does not have it");
                }
                failed = error;
            }
        }
    }
    Err(failed)
}

/// Waits for one blob and tells how far it is.
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
    // Without a word it was the daemon that ended.
    let gone = Err(RegistryError::Transport("shutting down".to_owned()));
    known.ok().and_then(|end| end.clone()).unwrap_or(gone)
}
