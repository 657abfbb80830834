//! Requests that have no answer yet when the daemon's grace is over get one.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::server::error::{ApiError, OllamaError, OpenAiError};
use crate::server::state::App;

pub(super) async fn end_when_stopped(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Response {
    let openai = request.uri().path().starts_with("/v1/");
    tokio::select! {
        biased;
        response = next.run(request) => response,
        () = app.cut_off.cancelled() => if openai {
            OpenAiError(ApiError::stopping()).into_response()
        } else {
            OllamaError(ApiError::stopping()).into_response()
        },
    }
}
