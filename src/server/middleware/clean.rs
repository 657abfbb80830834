//! Redirects paths that are not clean (`//api/tags`, `/v1//models`, `/api/./version`), as Go's server does:
//! base URLs with a trailing slash are common.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

pub(super) async fn redirect(request: Request, next: Next) -> Response {
    let uri = request.uri();
    let is_path = uri.path().starts_with('/') && request.method() != Method::CONNECT;
    let Some(mut target) = cleaned(uri.path()).filter(|_| is_path) else {
        return next.run(request).await;
    };
    if let Some(query) = uri.query() {
        target.push('?');
        target.push_str(query);
    }
    match HeaderValue::try_from(target) {
        Ok(target) => {
            let headers = [(header::LOCATION, target)];
            (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
        }
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Removes empty segments, `.` and `..` from a path; `None` = there are none. A trailing slash stays.
fn cleaned(path: &str) -> Option<String> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let is_clean = |part: &str| !matches!(part, "" | "." | "..");
    if path == "/" || (inner.split('/').all(is_clean) && path.starts_with('/')) {
        return None;
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    // Browsers treat a backslash as a slash, and two of them would begin a host name.
    Some(clean.replace('\\', "%5C"))
}

#[cfg(test)]
mod tests {
    use super::cleaned;

    #[test]
    fn paths_are_spelled_as_short_as_can_be() {
        for (path, clean) in [
            ("//api/tags", "/api/tags"),
            ("/v1//chat/completions", "/v1/chat/completions"),
            ("/api/./version", "/api/version"),
            ("/a/../api/tags", "/api/tags"),
            ("/../..", "/"),
            ("//", "/"),
            ("/api/tags//", "/api/tags/"),
            ("/api/tags/.", "/api/tags"),
            ("//example.org/x", "/example.org/x"),
            ("//\\example.org", "/%5Cexample.org"),
        ] {
            assert_eq!(cleaned(path).as_deref(), Some(clean), "{path}");
        }
        for path in ["/", "/api/tags", "/api/tags/", "/v1/models/a.b/..c"] {
            assert_eq!(cleaned(path), None, "{path}");
        }
    }
}
