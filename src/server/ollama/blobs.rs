//! `HEAD` and `POST /api/blobs/:digest`: is it there, and here it is.

use std::io::Write as _;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::model::Digest;
use crate::server::error::{ApiError, OllamaError};
use crate::server::state::App;
use crate::store::{BlobWriter, StoreError};

/// Pieces that may wait for the disk.
const QUEUE: usize = 8;

/// What the connection gives to the disk.
#[derive(Debug)]
enum Part {
    Piece(Bytes),
    /// Everything has arrived. A queue that closes without it was cut off.
    End,
}

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

/// Stores a body of any size; nothing of it stays when it breaks off or is another one.
pub(super) async fn upload(
    State(app): State<App>,
    Path(digest): Path<String>,
    body: Body,
) -> Result<Response, OllamaError> {
    let digest = parse(&digest)?;
    if has(&app, digest).await? {
        // Some clients see no answer while they are still sending.
        let mut body = body.into_data_stream();
        while body.next().await.is_some_and(|piece| piece.is_ok()) {}
        return Ok(StatusCode::OK.into_response());
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    let store = app.store.clone();
    let written = app.block(move || {
        let writer = store.blob_writer()?;
        write(writer, receiver, digest)
    });
    let sent = send(body.into_data_stream(), sender).await;
    // The disk's error is the cause when both have one.
    let complete = written.await??;
    sent?;
    if complete {
        Ok(StatusCode::CREATED.into_response())
    } else {
        Err(ApiError::invalid("the upload broke off").into())
    }
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

/// Passes a body on, as fast as the disk takes it.
async fn send(mut body: BodyDataStream, parts: mpsc::Sender<Part>) -> Result<(), ApiError> {
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| ApiError::invalid(error.to_string()))?;
        if parts.send(Part::Piece(piece)).await.is_err() {
            return Ok(());
        }
    }
    // A closed queue: the writer has failed and tells why.
    let _ = parts.send(Part::End).await;
    Ok(())
}

/// Writes what arrives; false when it broke off, and then nothing is left of it.
fn write(
    mut writer: BlobWriter,
    mut parts: mpsc::Receiver<Part>,
    digest: Digest,
) -> Result<bool, StoreError> {
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::Piece(piece) => writer.write_all(&piece)?,
            Part::End => {
                writer.finish(Some(digest))?;
                return Ok(true);
            }
        }
    }
    Ok(false)
}
