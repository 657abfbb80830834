//! `HEAD` and `POST /api/blobs/:digest`: checks and uploads a blob.

use std::io::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;

use crate::model::Digest;
use crate::server::error::{ApiError, OllamaError};
use crate::server::gate::Pass;
use crate::server::origin::Origin;
use crate::server::state::App;
use crate::store::{BlobWriter, StoreError};

/// Bytes that are buffered before a write: enough for fast disks, and small enough for many concurrent
/// uploads.
const WRITE_BYTES: usize = 64 * 1024;

pub(super) async fn exists(
    State(app): State<App>,
    Path(digest): Path<String>,
) -> Result<StatusCode, OllamaError> {
    let digest = parse(&digest)?;
    if has(&app, digest).await? {
        Ok(StatusCode::OK)
    } else {
        Err(StoreError::BlobNotFound(digest).into())
    }
}

/// Stores a body of any size. Nothing is kept if it breaks off or has another digest.
pub(super) async fn upload(
    State(app): State<App>,
    origin: Origin,
    Path(digest): Path<String>,
    body: Body,
) -> Result<Response, OllamaError> {
    let digest = parse(&digest)?;
    let mut body = body.into_data_stream();
    if has(&app, digest).await? {
        // Some clients do not read the answer while they are still sending.
        while let Some(piece) = body.next().await {
            piece.map_err(|error| ApiError::body(&error))?;
        }
        return Ok(StatusCode::OK.into_response());
    }
    let mut spool = Spool::new(&app, origin);
    let mut buffer = Vec::new();
    while let Some(piece) = body.next().await {
        buffer.extend_from_slice(&piece.map_err(|error| ApiError::body(&error))?);
        if buffer.len() >= WRITE_BYTES {
            spool.write(std::mem::take(&mut buffer)).await?;
        }
    }
    spool.write(buffer).await?;
    spool.finish(digest).await?;
    Ok(StatusCode::CREATED.into_response())
}

fn parse(digest: &str) -> Result<Digest, ApiError> {
    digest
        .parse::<Digest>()
        .map_err(|error| ApiError::invalid(error.to_string()))
}

async fn has(app: &App, digest: Digest) -> Result<bool, ApiError> {
    let store = app.store.clone();
    let looked = app.block(move || store.has_blob(&digest));
    Ok(looked.await?)
}

/// A blob that is written on the blocking pool. It uses a thread only while it writes; meanwhile the next piece can
/// arrive. An upload that has sent very little has no file yet.
struct Spool {
    app: App,
    origin: Origin,
    /// Exists from the first piece on.
    pass: Option<Pass>,
    /// The running job that opens the blob or writes a piece, and returns the writer. `None` after a
    /// failure.
    job: Option<JoinHandle<Result<BlobWriter, StoreError>>>,
}

impl Spool {
    fn new(app: &App, origin: Origin) -> Self {
        Self {
            app: Arc::clone(app),
            origin,
            pass: None,
            job: None,
        }
    }

    /// Waits until all pieces are written; before the first piece, waits for a pass of the gate.
    async fn writer(&mut self) -> Result<BlobWriter, ApiError> {
        if self.pass.is_none() {
            self.pass = Some(self.app.gates.uploads.enter(self.origin).await?);
            let store = self.app.store.clone();
            self.job = Some(self.app.block(move || store.blob_writer()));
        }
        let Some(job) = &mut self.job else {
            return Err(ApiError::internal("the blob could not be written"));
        };
        let written = job.await;
        self.job = None;
        Ok(written??)
    }

    /// Starts to write the next piece.
    async fn write(&mut self, piece: Vec<u8>) -> Result<(), ApiError> {
        let mut writer = self.writer().await?;
        self.job = Some(self.app.block(move || {
            writer.write_all(&piece)?;
            Ok(writer)
        }));
        Ok(())
    }

    async fn finish(mut self, digest: Digest) -> Result<(), ApiError> {
        let writer = self.writer().await?;
        let finished = self.app.block(move || writer.finish(Some(digest)));
        finished.await??;
        Ok(())
    }
}

impl Drop for Spool {
    /// Removing the file also runs on the pool.
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            let app = Arc::clone(&self.app);
            let pass = self.pass.take();
            self.app.tasks.spawn(async move {
                let _pass = pass;
                if let Ok(Ok(writer)) = job.await {
                    app.block(move || drop(writer));
                }
            });
        }
    }
}
