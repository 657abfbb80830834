//! The route table.
//!
//! Each line names its methods in the order in which a 405's `Allow` header lists them, as in Ollama. The same path
//! with a trailing slash is a redirect. `access/need.rs` says which access a route needs.

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};

use super::access::{Need, guard};
use super::error::{ApiError, spelled};
use super::state::App;
use super::stream::json;
use super::{admin, anthropic, extra, ollama, openai, openapi, ui};
use crate::api::llama_server::Health;
use crate::api::ollama::VersionResponse;
use crate::client::OLLAMA_VERSION;
use crate::device;
use crate::dialect::openai::UNKNOWN_URL;
use crate::error::ErrorKind;

const TEXT: &str = "text/plain";

/// A part of the route table.
#[derive(Debug, Default)]
pub(super) struct Routes {
    router: Router<App>,
    lines: Vec<Line>,
}

/// A line of the table, for code that iterates over it.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(test), expect(dead_code, reason = "tests walk the table"))]
pub(super) struct Line {
    pub(super) path: &'static str,
    pub(super) methods: &'static str,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds the lines of another part.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.lines.extend(other.lines);
        Self {
            router: self.router.merge(other.router),
            lines: self.lines,
        }
    }

    /// All lines.
    #[cfg(test)]
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }
}

/// Builds the routes without the middleware.
pub(super) fn routes() -> Router<App> {
    let fallback = |method: Method, uri: Uri| async move { not_found(&method, &uri) };
    table().router.fallback(fallback)
}

/// The route table.
pub(super) fn table() -> Routes {
    Routes::new()
        .merge(route("/", "HEAD, GET", root))
        .merge(route("/api/version", "HEAD, GET", version))
        .merge(route("/health", "HEAD, GET", health))
        .merge(route("/ready", "HEAD, GET", ready))
        .merge(route("/metrics", "HEAD, GET", metrics))
        .merge(ollama::routes())
        .merge(openai::routes())
        .merge(anthropic::routes())
        .merge(extra::routes())
        .merge(ui::routes())
        .merge(admin::routes())
        .merge(openapi::routes())
}

/// Adds one line of the table, with one handler for all methods; also used for the `/v1` routes.
pub(super) fn route<T: 'static>(
    path: &'static str,
    methods: &'static str,
    handler: impl Handler<T, App>,
) -> Routes {
    route_by_method(path, methods, any(handler))
}

/// Adds a line whose methods have handlers of their own.
pub(super) fn route_by_method(
    path: &'static str,
    methods: &'static str,
    handlers: MethodRouter<App>,
) -> Routes {
    let Routes { router, lines } = line(path, methods, handlers);
    if path == "/" {
        return Routes { router, lines };
    }
    let slashed = move |method: Method, uri: Uri| async move {
        if allows(methods, &method) {
            without_slash(&method, &uri)
        } else {
            not_found(&method, &uri)
        }
    };
    Routes {
        router: router.route(&format!("{path}/"), any(slashed)),
        lines,
    }
}

/// Adds a line whose path ends in a parameter that may contain slashes.
pub(super) fn wildcard<T: 'static>(
    path: &'static str,
    methods: &'static str,
    handler: impl Handler<T, App>,
) -> Routes {
    line(path, methods, any(handler))
}

fn line(path: &'static str, methods: &'static str, handlers: MethodRouter<App>) -> Routes {
    let need = Need::of(path);
    let known = move |request: Request, next: Next| async move {
        if allows(methods, request.method()) {
            guard(need, path, request, next).await
        } else {
            method_not_allowed(methods, request.method(), request.uri())
        }
    };
    Routes {
        router: Router::new().route(path, handlers.layer(from_fn(known))),
        lines: vec![Line { path, methods }],
    }
}

fn allows(methods: &str, method: &Method) -> bool {
    methods.split(", ").any(|known| known == method.as_str())
}

/// OpenAI's and Anthropic's clients expect an error object in every unsuccessful response.
fn is_v1(uri: &Uri) -> bool {
    uri.path() == "/v1" || uri.path().starts_with("/v1/")
}

fn method_not_allowed(methods: &'static str, method: &Method, uri: &Uri) -> Response {
    if is_v1(uri) {
        let message = format!("Not allowed to {method} on {}", uri.path());
        let error = ApiError::new(ErrorKind::MethodNotAllowed, message);
        let error = spelled(error.coded("method_not_supported"), uri.path());
        return ([(header::ALLOW, methods)], error).into_response();
    }
    let headers = [(header::CONTENT_TYPE, TEXT), (header::ALLOW, methods)];
    (
        StatusCode::METHOD_NOT_ALLOWED,
        headers,
        "405 method not allowed",
    )
        .into_response()
}

fn without_slash(method: &Method, uri: &Uri) -> Response {
    let path = uri.path().trim_end_matches('/');
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let status = if method == Method::GET {
        StatusCode::MOVED_PERMANENTLY
    } else {
        StatusCode::TEMPORARY_REDIRECT
    };
    let Ok(target) = HeaderValue::try_from(target) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    (status, [(header::LOCATION, target)]).into_response()
}

/// Answers 404 in the form of the path's API.
pub(super) fn not_found(method: &Method, uri: &Uri) -> Response {
    if is_v1(uri) {
        let message = format!("Invalid URL ({method} {})", uri.path());
        let error = ApiError::not_found(message).coded(UNKNOWN_URL);
        return spelled(error, uri.path());
    }
    let headers = [(header::CONTENT_TYPE, TEXT)];
    (StatusCode::NOT_FOUND, headers, "404 page not found").into_response()
}

/// The answer that clients probe for; people with a browser get the page.
async fn root(headers: HeaderMap) -> Response {
    if ui::wants_page(&headers) {
        return ui::page();
    }
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (headers, "Ollama is running").into_response()
}

async fn version() -> Response {
    json(&VersionResponse {
        version: OLLAMA_VERSION.to_owned(),
    })
}

/// For load balancers, like llama-server's; always ok, since models are loaded on demand.
async fn health() -> Response {
    json(&Health { status: "ok" })
}

/// Also for load balancers: whether to send requests here. Not ready while the daemon stops.
async fn ready(State(app): State<App>) -> Response {
    if app.draining.is_cancelled() {
        let mut response = json(&Health { status: "stopping" });
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    }
    json(&Health { status: "ok" })
}

/// The counters, for Prometheus: in OpenMetrics' format for clients that accept it, else in the older format, which
/// everything reads.
async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|accepted| accepted.to_str().ok());
    let wants_open = accepted.any(|accepted| accepted.contains("application/openmetrics-text"));
    if let Ok(cards) = app.block(device::cards).await {
        crate::metrics::gpus(cards);
    }
    let (kind, text) = if wants_open {
        (OPEN_METRICS, crate::metrics::open_text())
    } else {
        (PLAIN, crate::metrics::text())
    };
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
