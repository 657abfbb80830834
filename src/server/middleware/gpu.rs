//! Adds a header to every answer when a graphics card is present but not used.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::server::state::App;

const PROBLEM: HeaderName = HeaderName::from_static("x-drover-gpu-problem");

pub(super) async fn tell(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let problem = app.scheduler.gpu_obstacle();
    if let Some(value) = problem.and_then(|text| HeaderValue::from_str(&text).ok()) {
        response.headers_mut().insert(PROBLEM, value);
    }
    response
}
