//! Push: blobs one after another, then the manifest.

use std::sync::Arc;

use reqwest::header::CONTENT_TYPE;
use tokio::sync::watch;

use super::retry::Retry;
use super::session::Session;
use super::upload::Upload;
use super::{Inner, RegistryError, Teller, Wish, progress_ticks};
use crate::json::go as go_json;
use crate::model::manifest::MEDIA_MANIFEST;
use crate::model::{Layer, Manifest};

/// Sends a model to the registry in its name.
pub(super) async fn run(
    inner: Arc<Inner>,
    wish: Wish,
    teller: Teller,
) -> Result<(), RegistryError> {
    teller.step("retrieving manifest").await;
    let (store, wanted) = (inner.store.clone(), wish.name.clone());
    let read = tokio::task::spawn_blocking(move || store.manifest(&wanted)).await;
    let manifest = match read.map_err(std::io::Error::from)? {
        Ok(manifest) => manifest,
        Err(error) => {
            teller.step("couldn't retrieve manifest").await;
            return Err(error.into());
        }
    };
    let session = Session::new(&inner.http, &inner.settings, &wish);
    for layer in manifest.blobs() {
        blob(&inner, &session, layer, &teller).await?;
    }
    teller.step("pushing manifest").await;
    put_manifest(&session, &manifest, Retry::new(inner.settings.first_delay)).await?;
    teller.step("success").await;
    Ok(())
}

/// Sends one blob and reports its progress.
async fn blob(
    inner: &Inner,
    session: &Session,
    layer: &Layer,
    teller: &Teller,
) -> Result<(), RegistryError> {
    let (sent, seen) = watch::channel(0);
    let upload = Upload {
        session,
        settings: &inner.settings,
        store: &inner.store,
        layer,
    };
    let sending = upload.run(&sent);
    tokio::pin!(sending);
    let mut tick = progress_ticks();
    loop {
        tokio::select! {
            biased;
            result = &mut sending => {
                result?;
                teller.blob("pushing", &layer.digest, layer.size, layer.size).await;
                return Ok(());
            }
            _ = tick.tick() => {
                let sent = *seen.borrow();
                teller.blob("pushing", &layer.digest, layer.size, sent).await;
            }
        }
    }
}

async fn put_manifest(
    session: &Session,
    manifest: &Manifest,
    mut retry: Retry,
) -> Result<(), RegistryError> {
    let bytes = go_json::to_vec(manifest).map_err(std::io::Error::from)?;
    let url = session.manifest_url();
    loop {
        let sent = session.send_direct(|client| {
            let request = client.put(&url).header(CONTENT_TYPE, MEDIA_MANIFEST);
            request.body(bytes.clone())
        });
        match sent.await {
            Ok(_) => return Ok(()),
            Err(error) => retry.after(error).await?,
        }
    }
}
