//! Answers requests that are still unanswered when the daemon's grace period is over.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::spelled;
use crate::server::error::ApiError;
use crate::server::state::App;

pub(super) async fn end_when_stopped(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    tokio::select! {
        biased;
        response = next.run(request) => response,
        () = app.cut_off.cancelled() => spelled(ApiError::stopping(), &path),
    }
}
