//! The middleware of every request, from the outside in: log and request id, origins, hosts, paths,
//! keys, shutdown, panics, memory.

mod access;
mod clean;
mod cors;
mod cut_off;
mod gpu;
mod hosts;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

use super::access::identify;
use super::error::spelled;
use super::extract::hold;
use super::state::App;

use cors::Origins;
use hosts::Hosts;

/// Wraps the routes for requests that come from this process: only what every handler relies on.
pub(super) fn wrap_inside(routes: Router<App>, app: &App) -> Router<App> {
    routes
        .layer(from_fn(hold))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), cut_off::end_when_stopped))
}

/// Wraps the routes; `address` is where the daemon listens.
pub(super) fn wrap(routes: Router<App>, app: &App, address: SocketAddr) -> Router<App> {
    let origins = Arc::new(Origins::new(&app.config.origins));
    let hosts = Arc::new(Hosts::new(app, Arc::clone(&origins), address));
    // The layer that is added last runs first.
    routes
        .layer(from_fn(hold))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), cut_off::end_when_stopped))
        .layer(from_fn_with_state(app.clone(), identify))
        .layer(from_fn_with_state(app.clone(), gpu::tell))
        .layer(from_fn(clean::redirect))
        .layer(from_fn_with_state(hosts, hosts::check))
        .layer(from_fn_with_state(origins, cors::check))
        .layer(from_fn_with_state(
            access::Log::new(&app.config),
            access::record,
        ))
}

/// A panic costs one request: 500 without a body, as in Ollama.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that the layer wants"
)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    tracing::error!(panic = message, "a handler panicked");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
