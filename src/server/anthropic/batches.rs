//! `/v1/messages/batches`: batch jobs in Anthropic's format.

use std::io::{BufRead as _, BufReader};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::api::anthropic::{
    MessageBatch, MessageBatchCounts, MessageBatchDeleted, MessageBatchList,
};
use crate::error::ErrorKind;
use crate::jobs::{
    Batch, BatchPage, MESSAGES, NewBatch, Origin, Status, message_lines, message_result,
};
use crate::server::access::Access;
use crate::server::error::{AnthropicError, ApiError, REQUEST, anthropic_id, identified};
use crate::server::extract::{Client, read_whole};
use crate::server::router::{Routes, route, route_by_method};
use crate::server::state::App;
use crate::server::stream::json;

/// How long results are kept, in seconds: 29 days.
const KEEP: u32 = 29 * 24 * 3600;

/// The default number of batches of a page.
const PAGE: usize = 20;
const MAX_PAGE: usize = 1000;

/// Bytes of results that are sent at a time, and how many such pieces may wait.
const PIECE: usize = 64 << 10;
const PIECES: usize = 4;

pub(super) fn routes() -> Routes {
    Routes::new()
        .merge(route_by_method(
            "/v1/messages/batches",
            "GET, POST",
            get(list).post(create),
        ))
        .merge(route_by_method(
            "/v1/messages/batches/{id}",
            "GET, DELETE",
            get(retrieve).delete(delete),
        ))
        .merge(route("/v1/messages/batches/{id}/cancel", "POST", cancel))
        .merge(route("/v1/messages/batches/{id}/results", "GET", results))
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}

/// A job as clients see it; `base` is the server's address as the client knows it.
fn object(batch: Batch, base: &str) -> MessageBatch {
    let (times, counts) = (batch.times, batch.counts);
    let ended = times
        .completed
        .or(times.cancelled)
        .or(times.expired)
        .or(times.failed);
    let is_over = batch.status.is_final();
    let not_run = |status| {
        if batch.status == status {
            counts.not_run
        } else {
            0
        }
    };
    MessageBatch {
        kind: "message_batch",
        processing_status: match batch.status {
            Status::Cancelling => "canceling",
            _ if is_over => "ended",
            _ => "in_progress",
        },
        request_counts: MessageBatchCounts {
            processing: if is_over { 0 } else { batch.n_waiting() },
            succeeded: counts.completed,
            errored: counts.failed,
            canceled: not_run(Status::Cancelled),
            expired: not_run(Status::Expired),
        },
        ended_at: ended.map(moment),
        created_at: moment(times.created),
        expires_at: moment(times.expires),
        archived_at: None,
        cancel_initiated_at: times.cancelling.map(moment),
        results_url: is_over.then(|| format!("{base}{MESSAGES}/batches/{}/results", batch.id)),
        id: batch.id,
    }
}

/// The address that a client has used, from its headers and, for the scheme, from those of a proxy before us.
fn base(app: &App, headers: &HeaderMap) -> String {
    let said = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = match said(HeaderName::from_static("x-forwarded-proto")) {
        Some("https") => "https",
        _ if app.tls.is_some() => "https",
        _ => "http",
    };
    let host = said(header::HOST).unwrap_or("127.0.0.1:11434");
    format!("{scheme}://{host}")
}

fn answer(value: &impl serde::Serialize) -> Response {
    identified(json(value), &anthropic_id(REQUEST))
}

async fn create(
    State(app): State<App>,
    client: Client,
    access: Access,
    request: Request,
) -> Result<Response, AnthropicError> {
    let base = base(&app, request.headers());
    let (body, _share) = read_whole(request, &app).await?;
    let making = app.block(move || message_lines(&body));
    let lines = making.await?.map_err(ApiError::invalid)?;
    let files = &app.jobs.files;
    let mut incoming = files.begin(lines.text.len() as u64).await?;
    let (n, model, text) = (lines.n, lines.model, Bytes::from(lines.text));
    if !crate::server::lines::has_model(&app, &model).await {
        return Err(ApiError::not_found(format!("model: {model}")).into());
    }
    incoming.write(&text).await?;
    let input_file = files.keep_unlisted(incoming).await?;
    let new = NewBatch {
        origin: Origin::Anthropic,
        owner: access.owner(),
        client: client.without_request(),
        endpoint: MESSAGES.to_owned(),
        input_file: input_file.clone(),
        metadata: None,
        keep: Some(KEEP),
    };
    let (jobs, seen) = (&app.jobs.batches, access.seen());
    let created = jobs.create(new, &seen, Timestamp::now()).await;
    let mut batch = match created {
        Ok(batch) => batch,
        Err(error) => {
            files.remove_unlisted(input_file).await?;
            return Err(error.into());
        }
    };
    // The requests were counted on arrival, but the job does not know the number yet.
    batch.counts.total = n;
    Ok(answer(&object(batch, &base)))
}

async fn list(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, AnthropicError> {
    let [mut after, mut before] = [None, None];
    let mut limit = PAGE;
    let query = uri.query().unwrap_or_default();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "after_id" => after = Some(value.into_owned()),
            "before_id" => before = Some(value.into_owned()),
            "limit" => {
                let known = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=MAX_PAGE).contains(limit));
                limit = known.ok_or_else(|| {
                    ApiError::invalid(format!("limit: Input should be from 1 to {MAX_PAGE}"))
                })?;
            }
            _ => {}
        }
    }
    let (jobs, seen) = (&app.jobs.batches, access.seen());
    let page = BatchPage {
        after,
        before,
        limit,
    };
    let listing = jobs.list(Origin::Anthropic, &seen, page);
    let (batches, has_more) = listing.await?;
    let base = base(&app, &headers);
    Ok(answer(&MessageBatchList {
        first_id: batches.first().map(|batch| batch.id.clone()),
        last_id: batches.last().map(|batch| batch.id.clone()),
        data: batches
            .into_iter()
            .map(|batch| object(batch, &base))
            .collect(),
        has_more,
    }))
}

async fn retrieve(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, AnthropicError> {
    let (jobs, seen) = (&app.jobs.batches, access.seen());
    let batch = jobs.get(&id, Origin::Anthropic, &seen).await?;
    Ok(answer(&object(batch, &base(&app, &headers))))
}

async fn cancel(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, AnthropicError> {
    let (jobs, seen) = (&app.jobs.batches, access.seen());
    let cancelling = jobs.cancel(&id, Origin::Anthropic, &seen, Timestamp::now());
    Ok(answer(&object(cancelling.await?, &base(&app, &headers))))
}

async fn delete(
    State(app): State<App>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Response, AnthropicError> {
    let (jobs, seen) = (&app.jobs.batches, access.seen());
    jobs.delete(&id, Origin::Anthropic, &seen).await?;
    Ok(answer(&MessageBatchDeleted {
        id,
        kind: "message_batch_deleted",
    }))
}

async fn results(
    State(app): State<App>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Response, AnthropicError> {
    let (jobs, seen) = (&app.jobs.batches, access.seen());
    let batch = jobs.get(&id, Origin::Anthropic, &seen).await?;
    if !batch.status.is_final() {
        let message = format!("Batch '{id}' has no available results: it has not ended.");
        return Err(ApiError::new(ErrorKind::NotFound, message).into());
    }
    let mut opened = Vec::new();
    for (file, bytes) in [
        (&batch.output_file, batch.output_bytes),
        (&batch.error_file, batch.error_bytes),
    ] {
        if bytes > 0 {
            let opening = app.jobs.files.open(file, &seen, Timestamp::now());
            let (_, file) = opening.await?;
            opened.push(file.into_std().await);
        }
    }
    let (sender, pieces) = mpsc::channel(PIECES);
    app.block(move || {
        for file in opened {
            if let Err(error) = send(file, &sender) {
                // Breaks off the body. If the client has left, this fails, too.
                let _ = sender.blocking_send(Err(error));
                return;
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, "application/x-jsonl")];
    let body = Body::from_stream(ReceiverStream::new(pieces));
    let response = (headers, body).into_response();
    Ok(identified(response, &anthropic_id(REQUEST)))
}

/// Sends the lines of a file, in Anthropic's form.
fn send(file: std::fs::File, sender: &mpsc::Sender<std::io::Result<Bytes>>) -> std::io::Result<()> {
    let mut piece = String::new();
    let flush = |piece: &mut String| {
        let sent = sender.blocking_send(Ok(Bytes::from(std::mem::take(piece))));
        sent.map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    };
    for line in BufReader::new(file).lines() {
        piece.extend(message_result(&line?));
        if piece.len() >= PIECE {
            flush(&mut piece)?;
        }
    }
    if piece.is_empty() {
        Ok(())
    } else {
        flush(&mut piece)
    }
}
