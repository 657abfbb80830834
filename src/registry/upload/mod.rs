//! Uploads one blob, by the OCI distribution protocol's chunked upload.
//!
//! When a part fails, the upload status (a request of that protocol) tells how much has arrived, and the
//! rest follows. If the registry does not support that, the blob starts again.

mod part;

use std::sync::Arc;

use md5::{Digest as _, Md5};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Response, StatusCode, Url};
use tokio::sync::watch;

use super::answer::target;
use super::retry::Retry;
use super::session::Session;
use super::{RegistryError, Settings};
use crate::model::{Digest, Layer, ModelName};
use crate::store::Store;
use part::Part;

/// The URL for the next part; the public registry sends it separately from redirects.
const UPLOAD_LOCATION: &str = "docker-upload-location";

/// A blob to send.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    pub(super) session: &'a Session,
    pub(super) settings: &'a Settings,
    pub(super) store: &'a Store,
    pub(super) layer: &'a Layer,
}

/// An upload that the registry has accepted.
#[derive(Debug)]
struct Begun {
    /// The URL of the next request.
    url: Url,
    /// The registry redirects parts: each goes to its target whole, and has no upload status.
    redirects: bool,
    /// A request has failed: the registry may not have all that was sent.
    is_doubtful: bool,
}

/// Why an upload ended.
#[derive(Debug)]
enum Stop {
    /// The registry has lost it, or cannot report how much it has. The blob can be sent again; the delay is
    /// over.
    Lost,
    Failed(RegistryError),
}

impl From<RegistryError> for Stop {
    fn from(error: RegistryError) -> Self {
        Self::Failed(error)
    }
}

impl Upload<'_> {
    /// Sends the blob unless the registry has it; reports progress to `sent`.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub(super) async fn run(&self, sent: &watch::Sender<u64>) -> Result<(), RegistryError> {
        let mut retry = Retry::new(self.settings.first_delay);
        while !self.is_there().await? {
            let Some(url) = self.begin().await? else {
                return Ok(());
            };
            let mut begun = Begun {
                url,
                redirects: false,
                is_doubtful: false,
            };
            match self.send(&mut begun, sent, &mut retry).await {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Lost) => {
                    tracing::info!(digest = %self.layer.digest, "an upload starts anew");
                }
            }
        }
        Ok(())
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

    /// Starts the upload; `None` when the registry mounted the blob from another model.
    async fn begin(&self) -> Result<Option<Url>, RegistryError> {
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

    /// Sends the whole blob part by part, then its digest.
    async fn send(
        &self,
        begun: &mut Begun,
        sent: &watch::Sender<u64>,
        retry: &mut Retry,
    ) -> Result<(), Stop> {
        let (file, size) = self.open().await?;
        let part_size = self.settings.upload_parts.of(size);
        let (mut start, mut n_parts, mut etag) = (0, 0_u32, Md5::new());
        while start < size {
            let part = Part::new(&file, start, size.min(start + part_size), sent);
            self.part(begun, &part, retry).await?;
            start = part.end();
            n_parts += 1;
            etag.update(part.md5());
        }
        let etag = format!("{:x}-{n_parts}", etag.finalize());
        self.commit(begun, &etag, retry).await
    }

    async fn open(&self) -> Result<(Arc<std::fs::File>, u64), RegistryError> {
        let digest: Digest = self.layer.digest.parse().map_err(|_| {
            RegistryError::Malformed(format!("invalid digest {:?}", self.layer.digest))
        })?;
        let store = self.store.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let file = store.open_blob(&digest)?;
            let size = file.metadata()?.len();
            Ok::<_, std::io::Error>((Arc::new(file.into_parts().0), size))
        });
        Ok(opened.await.map_err(std::io::Error::from)??)
    }

    /// Sends a part; after a failure, the bytes of it that the registry does not have.
    async fn part(&self, begun: &mut Begun, part: &Part, retry: &mut Retry) -> Result<(), Stop> {
        let mut from = part.start();
        while from < part.end() {
            let error = match self.patch(begun, part, from).await {
                Ok(next) => {
                    begun.url = next;
                    retry.reached(part.end());
                    return Ok(());
                }
                Err(error) => error,
            };
            begun.is_doubtful = true;
            let is_lost = matches!(error, RegistryError::NotFound);
            let is_out_of_step = matches!(error, RegistryError::Status { status: 416, .. });
            let error = if is_lost || is_out_of_step {
                lost()
            } else {
                error
            };
            retry.after(error).await?;
            if is_lost {
                return Err(Stop::Lost);
            }
            if !begun.redirects {
                from = self.arrived(begun, part, retry).await?;
                retry.reached(from);
            }
        }
        Ok(())
    }

    /// One request with the rest of a part; returns the URL of the next request.
    async fn patch(&self, begun: &mut Begun, part: &Part, from: u64) -> Result<Url, RegistryError> {
        let length = part.end() - from;
        let range = format!("{from}-{}", part.end() - 1);
        let request = self.session.send_direct(|client| {
            client
                .patch(begun.url.clone())
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_LENGTH, length)
                .header(CONTENT_RANGE, &range)
                .header("x-redirect-uploads", "1")
                .body(part.body(from))
        });
        let response = request.await?;
        let next = next_url(&response)?;
        if response.status() == StatusCode::TEMPORARY_REDIRECT {
            begun.redirects = true;
            let target = location(&response, LOCATION.as_str())?;
            let request = self.session.send_signed(|client| {
                let request = client.put(target).header(CONTENT_LENGTH, length);
                request.body(part.body(from))
            });
            request.await?;
        }
        Ok(next)
    }

    /// Asks how many bytes of the blob the registry has.
    async fn arrived(
        &self,
        begun: &mut Begun,
        part: &Part,
        retry: &mut Retry,
    ) -> Result<u64, Stop> {
        let response = loop {
            let url = begun.url.clone();
            match self
                .session
                .send_direct(|client| client.get(url.clone()))
                .await
            {
                Ok(response) => break response,
                Err(error) if error.is_passing() => retry.after(error).await?,
                Err(RegistryError::Unauthorized) => return Err(RegistryError::Unauthorized.into()),
                Err(_) => return Err(Stop::Lost),
            }
        };
        let range = response
            .headers()
            .get(RANGE)
            .and_then(|range| range.to_str().ok());
        let arrived = range.and_then(|range| arrived(range, part.start()..=part.read()));
        let arrived = arrived.ok_or(Stop::Lost)?;
        if let Ok(next) = next_url(&response) {
            begun.url = next;
        }
        tracing::debug!(digest = %self.layer.digest, arrived, "an upload goes on");
        Ok(arrived)
    }

    /// Completes the upload.
    async fn commit(&self, begun: &mut Begun, etag: &str, retry: &mut Retry) -> Result<(), Stop> {
        let mut url = begun.url.clone();
        url.query_pairs_mut()
            .append_pair("digest", &self.layer.digest)
            .append_pair("etag", etag);
        loop {
            let request = self
                .session
                .send_direct(|client| client.put(url.clone()).header(CONTENT_LENGTH, 0));
            match request.await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_passing() => {
                    begun.is_doubtful = true;
                    retry.after(error).await?;
                }
                // A previous attempt may have succeeded, with its response lost.
                Err(RegistryError::NotFound | RegistryError::Status { .. })
                    if begun.is_doubtful =>
                {
                    retry.after(lost()).await?;
                    return Err(Stop::Lost);
                }
                Err(error) => return Err(error.into()),
            }
        }
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

/// An error after which a retry may succeed.
fn lost() -> RegistryError {
    RegistryError::Transport("the registry has lost the upload".to_owned())
}

/// Parses an upload's status, `0-LAST`: how many bytes have arrived. `None` if the number is not in
/// `possible`: at least the confirmed parts, at most what was ever sent.
fn arrived(range: &str, possible: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let last: u64 = range.strip_prefix("0-")?.trim().parse().ok()?;
    // `0-0` means one byte by the protocol but none in many registries, so it is not trusted.
    let arrived = last.checked_add(1).filter(|arrived| *arrived > 1)?;
    possible.contains(&arrived).then_some(arrived)
}

/// Where the next request of an upload goes.
fn next_url(response: &Response) -> Result<Url, RegistryError> {
    if response.headers().contains_key(UPLOAD_LOCATION) {
        return location(response, UPLOAD_LOCATION);
    }
    location(response, LOCATION.as_str())
}

fn location(response: &Response, header: &str) -> Result<Url, RegistryError> {
    target(response, header)?.ok_or_else(|| {
        RegistryError::Malformed("the registry does not say where the upload goes on".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_believed_where_it_can_be_true() {
        for (range, expected) in [
            ("0-99", Some(100)),
            ("0-149", Some(150)),
            ("0-199", Some(200)),
            // Less than was confirmed, more than was sent, one or none, and invalid text.
            ("0-98", None),
            ("0-200", None),
            ("0-0", None),
            ("5-150", None),
            ("0-18446744073709551615", None),
            ("", None),
            ("0-", None),
        ] {
            assert_eq!(arrived(range, 100..=200), expected, "{range}");
        }
        assert_eq!(arrived("0-0", 0..=10), None);
    }
}
