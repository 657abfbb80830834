//! Pulling, pushing and creating models; uploading blobs.

use futures_util::TryStreamExt as _;
use reqwest::{Body, Method};
use serde::Serialize;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use super::{Client, ClientError, Lines};
use crate::api::ollama::{CreateRequest, Progress};
use crate::model::Digest;

/// How many bytes are read and sent at a time.
const UPLOAD_CHUNK_BYTES: usize = 256 * 1024;

/// Body of pull and push.
#[derive(Serialize)]
struct TransferRequest<'a> {
    model: &'a str,
    /// The field name that old daemons require.
    name: &'a str,
    insecure: bool,
}

impl Client {
    /// Pulls a model from its registry; `insecure` means plain HTTP.
    ///
    /// # Errors
    /// Fails when the daemon refuses; most errors come in the stream.
    pub async fn pull(&self, model: &str, insecure: bool) -> Result<Lines<Progress>, ClientError> {
        let body = TransferRequest {
            model,
            name: model,
            insecure,
        };
        self.post_stream("/api/pull", &body).await
    }

    /// Pushes a model to its registry; `insecure` means plain HTTP.
    ///
    /// # Errors
    /// See [`Self::pull`].
    pub async fn push(&self, model: &str, insecure: bool) -> Result<Lines<Progress>, ClientError> {
        let body = TransferRequest {
            model,
            name: model,
            insecure,
        };
        self.post_stream("/api/push", &body).await
    }

    /// Makes a model from uploaded blobs or another model.
    ///
    /// # Errors
    /// See [`Self::pull`].
    pub async fn create(&self, request: &CreateRequest) -> Result<Lines<Progress>, ClientError> {
        self.post_stream("/api/create", request).await
    }

    /// Whether the daemon already has a blob.
    ///
    /// # Errors
    /// Fails if the daemon answers anything but yes or no.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, ClientError> {
        let request = self.request(Method::HEAD, &format!("/api/blobs/{digest}"));
        match Self::send(request).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Uploads a blob; calls `sent` with each chunk's length.
    ///
    /// # Errors
    /// Fails when the daemon computes another digest, or when the reader or the connection fails.
    pub async fn upload_blob<R, F>(
        &self,
        digest: &Digest,
        size_bytes: u64,
        reader: R,
        sent: F,
    ) -> Result<(), ClientError>
    where
        R: AsyncRead + Send + 'static,
        F: Fn(u64) + Send + 'static,
    {
        let pieces = ReaderStream::with_capacity(reader, UPLOAD_CHUNK_BYTES);
        let pieces = pieces.inspect_ok(move |piece| sent(piece.len() as u64));
        let request = self
            .request(Method::POST, &format!("/api/blobs/{digest}"))
            .header("content-length", size_bytes)
            .header("content-type", "application/octet-stream")
            .body(Body::wrap_stream(pieces));
        Self::send(request).await.map(drop)
    }
}
