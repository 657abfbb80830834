//! `/v1/batches`

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::answer;
use crate::api::openai::{
    BatchError, BatchErrors, BatchInputDetails, BatchObject, BatchOutputDetails, BatchRequest,
    BatchUsage, Page, RequestCounts,
};
use crate::dialect::openai::batches;
use crate::jobs::{self, Batch, BatchPage, Fault, NewBatch, Origin, Status, Usage};
use crate::server::access::Access;
use crate::server::error::OpenAiError;
use crate::server::extract::{Body, Client, OpenAiJson};
use crate::server::router::{Routes, route, route_by_method};
use crate::server::state::App;
use crate::server::stream::to_bytes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .merge(route_by_method(
            "/v1/batches",
            "GET, POST",
            get(list).post(create),
        ))
        .merge(route("/v1/batches/{id}", "GET", retrieve))
        .merge(route("/v1/batches/{id}/cancel", "POST", cancel))
}

impl Body for BatchRequest {
    const LIMIT: Option<usize> = Some(1 << 20);
}

/// A job as clients see it.
fn object(batch: Batch, paused: Option<String>) -> BatchObject {
    let times = batch.times;
    let counts = batch.counts;
    let is_final = batch.status.is_final();
    let file = |name: String, bytes: u64| (is_final && bytes > 0).then_some(name);
    let text = |(key, value)| (key, Value::String(value));
    BatchObject {
        id: batch.id,
        object: "batch".to_owned(),
        endpoint: batch.endpoint,
        model: batch.model,
        errors: errors(batch.faults),
        input_file_id: batch.input_file,
        completion_window: batches::WINDOW.to_owned(),
        status: batch.status.word().to_owned(),
        output_file_id: file(batch.output_file, batch.output_bytes),
        error_file_id: file(batch.error_file, batch.error_bytes),
        created_at: times.created,
        in_progress_at: times.in_progress,
        expires_at: Some(times.expires),
        finalizing_at: times.finalizing,
        completed_at: times.completed,
        failed_at: times.failed,
        expired_at: times.expired,
        cancelling_at: times.cancelling,
        cancelled_at: times.cancelled,
        request_counts: RequestCounts {
            total: counts.total,
            completed: counts.completed,
            failed: counts.failed,
        },
        usage: (batch.status == Status::Completed).then(|| usage(batch.usage)),
        metadata: batch
            .metadata
            .map(|pairs| pairs.into_iter().map(text).collect::<Map<_, _>>()),
        paused: paused.filter(|_| !is_final),
    }
}

fn errors(faults: Vec<Fault>) -> Option<BatchErrors> {
    if faults.is_empty() {
        return None;
    }
    let error = |fault: Fault| BatchError {
        code: Some(fault.code),
        message: Some(fault.message),
        param: fault.param,
        line: fault.line,
    };
    Some(BatchErrors {
        object: "list".to_owned(),
        data: faults.into_iter().map(error).collect(),
    })
}

fn usage(usage: Usage) -> BatchUsage {
    BatchUsage {
        input_tokens: usage.input,
        input_tokens_details: BatchInputDetails {
            cached_tokens: usage.cached,
        },
        output_tokens: usage.output,
        output_tokens_details: BatchOutputDetails {
            reasoning_tokens: usage.reasoning,
        },
        total_tokens: usage.input.saturating_add(usage.output),
    }
}

fn shown(app: &App, batch: Batch) -> Response {
    answer(to_bytes(&object(batch, app.jobs.batches.paused())))
}

async fn create(
    State(app): State<App>,
    client: Client,
    access: Access,
    OpenAiJson(request): OpenAiJson<BatchRequest>,
) -> Result<Response, OpenAiError> {
    let checked = batches::request(request, jobs::ENDPOINTS)?;
    let new = NewBatch {
        origin: Origin::OpenAi,
        owner: access.owner(),
        client: client.without_request(),
        endpoint: checked.endpoint,
        input_file: checked.input_file,
        metadata: checked.metadata,
        keep: checked.keep_seconds,
    };
    let (jobs, seen) = (&app.jobs.batches, access.seen());
    let batch = jobs.create(new, &seen, Timestamp::now()).await?;
    Ok(shown(&app, batch))
}

async fn list(State(app): State<App>, access: Access, uri: Uri) -> Result<Response, OpenAiError> {
    let query = batches::page(uri.query().unwrap_or_default())?;
    let jobs = &app.jobs.batches;
    let seen = access.seen();
    let page = BatchPage {
        after: query.after,
        before: None,
        limit: query.limit,
    };
    let listing = jobs.list(Origin::OpenAi, &seen, page);
    let (batches, has_more) = listing.await?;
    let paused = jobs.paused();
    Ok(answer(to_bytes(&Page {
        object: "list".to_owned(),
        first_id: batches.first().map(|batch| batch.id.clone()),
        last_id: batches.last().map(|batch| batch.id.clone()),
        data: batches
            .into_iter()
            .map(|batch| object(batch, paused.clone()))
            .collect(),
        has_more,
    })))
}

async fn retrieve(
    State(app): State<App>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Response, OpenAiError> {
    let (jobs, seen) = (&app.jobs.batches, access.seen());
    let batch = jobs.get(&id, Origin::OpenAi, &seen).await?;
    Ok(shown(&app, batch))
}

async fn cancel(
    State(app): State<App>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Response, OpenAiError> {
    let (jobs, seen) = (&app.jobs.batches, access.seen());
    let cancelling = jobs.cancel(&id, Origin::OpenAi, &seen, Timestamp::now());
    let batch = cancelling.await?;
    Ok(shown(&app, batch))
}
