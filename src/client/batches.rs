//! OpenAI's files and batch jobs; works with any server that has them.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Body, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

use super::{Client, ClientError};
use crate::api::openai::{BatchObject, FileObject, Page};

/// How many bytes are read and sent at a time.
const CHUNK_BYTES: usize = 256 * 1024;

impl Client {
    /// Uploads a file of requests for a batch job; calls `sent` with each chunk's length.
    ///
    /// # Errors
    /// Fails when the server refuses, or when the reader or the connection fails.
    pub async fn upload_batch<R, F>(
        &self,
        name: &str,
        size_bytes: u64,
        reader: R,
        sent: F,
    ) -> Result<FileObject, ClientError>
    where
        R: AsyncRead + Send + 'static,
        F: Fn(u64) + Send + 'static,
    {
        let boundary = format!("drover-{:032x}", fastrand::u128(..));
        // A quote would end the file name in the header.
        let name: String = name
            .chars()
            .filter(|c| !c.is_control() && *c != '"')
            .collect();
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/jsonl\r\n\r\n"
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let length = head.len() as u64 + size_bytes + tail.len() as u64;
        let pieces = ReaderStream::with_capacity(reader, CHUNK_BYTES);
        let pieces = pieces.inspect_ok(move |piece| sent(piece.len() as u64));
        let end = |text: String| stream::iter([Ok::<_, std::io::Error>(text.into())]);
        let body = end(head).chain(pieces).chain(end(tail));
        let request = self
            .request(Method::POST, "/v1/files")
            .header("content-length", length)
            .header(
                "content-type",
                format!("multipart/form-data; boundary={boundary}"),
            )
            .body(Body::wrap_stream(body));
        let response = Self::send(request).await?;
        Ok(response.json().await?)
    }

    /// Creates a batch job over a file.
    ///
    /// # Errors
    /// Fails when the server refuses; so do all methods below.
    pub async fn create_batch(
        &self,
        file: &str,
        endpoint: &str,
    ) -> Result<BatchObject, ClientError> {
        let body = json!({
            "input_file_id": file, "endpoint": endpoint, "completion_window": "24h",
        });
        self.post("/v1/batches", &body).await
    }

    /// Returns a batch job.
    ///
    /// # Errors
    /// See [`Self::create_batch`].
    pub async fn batch(&self, id: &str) -> Result<BatchObject, ClientError> {
        self.get(&format!("/v1/batches/{}", escaped(id))).await
    }

    /// Returns the newest batch jobs.
    ///
    /// # Errors
    /// See [`Self::create_batch`].
    pub async fn batches(&self) -> Result<Page<BatchObject>, ClientError> {
        self.get("/v1/batches?limit=100").await
    }

    /// Cancels a batch job.
    ///
    /// # Errors
    /// See [`Self::create_batch`].
    pub async fn cancel_batch(&self, id: &str) -> Result<BatchObject, ClientError> {
        let path = format!("/v1/batches/{}/cancel", escaped(id));
        self.post(&path, &Value::Object(serde_json::Map::new()))
            .await
    }

    /// Writes a file's content.
    ///
    /// # Errors
    /// Fails when the server refuses, or when the writer or the connection fails.
    pub async fn download_file(
        &self,
        id: &str,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ClientError> {
        let path = format!("/v1/files/{}/content", escaped(id));
        let mut response = Self::send(self.request(Method::GET, &path)).await?;
        let failed = |error: std::io::Error| ClientError::Transport(error.to_string());
        while let Some(piece) = response.chunk().await? {
            writer.write_all(&piece).await.map_err(failed)?;
        }
        writer.flush().await.map_err(failed)
    }
}

/// An id as part of a path.
fn escaped(id: &str) -> String {
    url::form_urlencoded::byte_serialize(id.as_bytes()).collect()
}
