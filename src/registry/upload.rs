//! One blob on its way to a registry (store specification §8).

use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use md5::{Digest as _, Md5};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Body, Response, StatusCode, Url};
use tokio::sync::watch;

use super::retry::Retry;
use super::session::Session;
use super::{RegistryError, Settings};
use crate::model::{Digest, Layer, ModelName};
use crate::store::Store;

/// Bytes read and sent at a time.
const CHUNK_BYTES: u64 = 256 * 1024;

/// Where the next part goes; the public registry names it apart from redirects.
const UPLOAD_LOCATION: &str = "docker-upload-location";

/// A blob to send.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    pub(super) session: &'a Session,
    pub(super) settings: &'a Settings,
    pub(super) store: &'a Store,
    pub(super) layer: &'a Layer,
}

/// A part of a file, sent as often as needed.
#[derive(Debug, Clone)]
struct Part {
    file: Arc<std::fs::File>,
    start: u64,
    end: u64,
    hash: Arc<Mutex<Md5>>,
    sent: watch::Sender<u64>,
}

impl Upload<'_> {
    /// Sends the blob unless the registry has it; `sent` hears how far it is.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub(super) async fn run(&self, sent: &watch::Sender<u64>) -> Result<(), RegistryError> {
        if self.is_there().await? {
            return Ok(());
        }
        let Some(mut url) = self.start().await? else {
            return Ok(());
        };
        let digest: Digest = self.layer.digest.parse().map_err(|_| {
            RegistryError::Malformed(format!("invalid digest {:?}", self.layer.digest))
        })?;
        let path = self.store.blob_path(&digest);
        let (file, size) = tokio::task::spawn_blocking(move || {
            let file = fs_err::File::open(path)?;
            let size = file.metadata()?.len();
            Ok::<_, std::io::Error>((Arc::new(file.into_parts().0), size))
        })
        .await
        .map_err(std::io::Error::from)??;
        let part_size = self.settings.part_size(size);
        let (mut start, mut n_parts, mut etag) = (0, 0_u32, Md5::new());
        while start < size {
            let part = Part {
                file: Arc::clone(&file),
                start,
                end: size.min(start + part_size),
                hash: Arc::default(),
                sent: sent.clone(),
            };
            url = self.part(url, &part).await?;
            start = part.end;
            n_parts += 1;
            etag.update(std::mem::take(&mut *part.lock()).finalize());
        }
        let etag = format!("{:x}-{n_parts}", etag.finalize());
        url.query_pairs_mut()
            .append_pair("digest", &self.layer.digest)
            .append_pair("etag", &etag);
        self.retried(|| async {
            let request = self
                .session
                .send_direct(|client| client.put(url.clone()).header(CONTENT_LENGTH, 0));
            request.await.map(drop)
        })
        .await
    }

    async fn is_there(&self) -> Result<bool, RegistryError> {
        let url = self.session.blob_url(&self.layer.digest);
        self.retried(|| async {
            match self.session.send(|client| client.head(&url)).await {
                Ok(_) => Ok(true),
                Err(RegistryError::NotFound) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Starts the upload; `None` when the registry took the blob from another model.
    async fn start(&self) -> Result<Option<Url>, RegistryError> {
        let mut url = format!("{}/blobs/uploads/", self.session.base());
        if let Ok(from) = ModelName::parse(&self.layer.from) {
            let digest = &self.layer.digest;
            url += &format!("?mount={digest}&from={}/{}", from.namespace, from.model);
        }
        self.retried(|| async {
            let request = self
                .session
                .send_direct(|client| client.post(&url).header(CONTENT_LENGTH, 0));
            let response = request.await?;
            if response.status() == StatusCode::CREATED {
                return Ok(None);
            }
            next_url(&response).map(Some)
        })
        .await
    }

    /// Sends a part and returns where the next one goes.
    async fn part(&self, url: Url, part: &Part) -> Result<Url, RegistryError> {
        self.retried(|| async {
            let length = part.end - part.start;
            let range = format!("{}-{}", part.start, part.end - 1);
            let request = self.session.send_direct(|client| {
                client
                    .patch(url.clone())
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .header(CONTENT_LENGTH, length)
                    .header(CONTENT_RANGE, &range)
                    .header("x-redirect-uploads", "1")
                    .body(part.body())
            });
            let response = request.await?;
            let next = next_url(&response)?;
            if response.status() == StatusCode::TEMPORARY_REDIRECT {
                let target = location(&response, LOCATION.as_str())?;
                let request = self.session.send_signed(|client| {
                    let request = client.put(target).header(CONTENT_LENGTH, length);
                    request.body(part.body())
                });
                request.await?;
            }
            Ok(next)
        })
        .await
    }

    async fn retried<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        let mut retry = Retry::new(self.settings.first_delay);
        loop {
            match attempt().await {
                Ok(result) => return Ok(result),
                Err(error) => retry.after(error).await?,
            }
        }
    }
}

impl Part {
    fn lock(&self) -> MutexGuard<'_, Md5> {
        self.hash.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The part's bytes from its beginning on.
    fn body(&self) -> Body {
        *self.lock() = Md5::new();
        self.sent.send_replace(self.start);
        let part = self.clone();
        let chunks = stream::try_unfold(self.start, move |at| {
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
        self.lock().update(&buffer);
        self.sent.send_replace(at + length);
        Ok(Some((buffer.into(), at + length)))
    }
}

/// Where the next request of an upload goes.
fn next_url(response: &Response) -> Result<Url, RegistryError> {
    if response.headers().contains_key(UPLOAD_LOCATION) {
        return location(response, UPLOAD_LOCATION);
    }
    location(response, LOCATION.as_str())
}

/// Reads an address, which may be relative to the one that was asked.
fn location(response: &Response, header: &str) -> Result<Url, RegistryError> {
    let headers: &HeaderMap = response.headers();
    let text = headers.get(header).and_then(|value| value.to_str().ok());
    let url = text.and_then(|text| response.url().join(text).ok());
    url.ok_or_else(|| {
        RegistryError::Malformed("the registry does not say where the upload goes on".to_owned())
    })
}
