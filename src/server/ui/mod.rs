//! The page at `/ui`, and the stream of states that it and `drover top` read.
//!
//! The page's files are compiled into the program. They send requests to this server only, and the page's content
//! security policy forbids everything else.

mod events;

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

use super::router::{Routes, not_found, route, wildcard};
use crate::model::Digest;

pub(super) use events::batch_state;

/// The page runs no foreign scripts, is in no frame, and loads from this server only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Changes with the files, so that browsers notice a new version.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let all: String = FILES.iter().map(|file| file.text).collect();
    format!("\"{}\"", &Digest::of(all.as_bytes()).hex()[..16])
});

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of the page.
struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($name:literal: $kind:ident),* $(,)?) => {
        &[$(File { name: $name, kind: $kind, text: include_str!(concat!("assets/", $name)) }),*]
    };
}

const FILES: &[File] = files! {
    "index.html": HTML,
    "style.css": CSS,
    "main.js": SCRIPT,
    "api.js": SCRIPT,
    "dom.js": SCRIPT,
    "chart.js": SCRIPT,
    "overview.js": SCRIPT,
    "models.js": SCRIPT,
    "chat.js": SCRIPT,
    "icon.svg": SVG,
};

/// The routes, for `router.rs` to merge.
pub(super) fn routes() -> Routes {
    Routes::new()
        .merge(route("/ui", "HEAD, GET", index))
        .merge(wildcard("/ui/{*file}", "HEAD, GET", file))
        .merge(route("/api/drover/events", "GET", events::events))
}

/// Whether a browser sends the request for a person.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Redirects browsers from `/` to the page.
pub(super) fn page() -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, "/ui")]).into_response()
}

async fn index(headers: HeaderMap) -> Response {
    answer(&FILES[0], &headers)
}

async fn file(Path(name): Path<String>, headers: HeaderMap, method: Method, uri: Uri) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => answer(file, &headers),
        None => not_found(&method, &uri),
    }
}

fn answer(file: &File, headers: &HeaderMap) -> Response {
    const FIXED: [(HeaderName, &str); 7] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        // The browser checks each time whether there is a new version.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let is_known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == TAG.as_bytes());
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, file.kind)], file.text).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&TAG) {
        headers.insert(header::ETAG, tag);
    }
    response
}
