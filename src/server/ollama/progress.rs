//! Responses of pull, push and create: a line for each step, or only the last one.

use axum::response::Response;
use futures_util::{Stream, StreamExt as _};

use crate::api::ollama::Progress;
use crate::server::access::Access;
use crate::server::error::ApiError;
use crate::server::state::App;
use crate::server::stream::{NDJSON, json_as, open, streamed, to_bytes};

/// One step without numbers.
pub(super) fn step(status: &str) -> Progress {
    Progress {
        status: status.to_owned(),
        ..Progress::default()
    }
}

/// Answers with all steps, or with only the last one if `stream` is false. An error before the first step
/// becomes a status.
///
/// # Errors
/// The first error, if nothing has been sent.
pub(super) async fn answer(
    app: &App,
    access: &Access,
    stream: Option<bool>,
    steps: impl Stream<Item = Result<Progress, ApiError>> + Send + Unpin + 'static,
) -> Result<Response, ApiError> {
    let act = access.act().clone();
    let steps = steps.inspect(move |step| {
        if let Err(error) = step {
            act.failed(&error.message);
        }
    });
    if stream == Some(false) {
        return last(steps).await;
    }
    let steps = open(async move { Ok(steps) }).await?;
    let lines = steps.map(|step| step.map(|step| to_bytes(&step)));
    Ok(streamed(NDJSON, lines, &app.cut_off))
}

async fn last(
    mut steps: impl Stream<Item = Result<Progress, ApiError>> + Unpin,
) -> Result<Response, ApiError> {
    let mut last = Progress::default();
    while let Some(step) = steps.next().await {
        last = step?;
    }
    Ok(json_as("application/json", &last))
}
