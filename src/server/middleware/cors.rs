//! Which web pages may call. Others get 403 before any handler runs, since the browser alone would refuse the answer
//! only after the work is done.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::server::browser::{foreign_origin, host_of};

const LOCAL_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "0.0.0.0"];

const APP_SCHEMES: [&str; 5] = [
    "app://*",
    "file://*",
    "tauri://*",
    "vscode-webview://*",
    "vscode-file://*",
];

const METHODS: &str = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS";

/// Ollama's list, then the headers that the OpenAI and Anthropic clients send from browsers.
const HEADERS: &str = "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,X-Stainless-Async,X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,X-Stainless-Runtime-Version,X-Stainless-Timeout,X-Api-Key,Anthropic-Version,Anthropic-Beta,Anthropic-Dangerous-Direct-Browser-Access,OpenAI-Organization,OpenAI-Project,Idempotency-Key";

const MAX_AGE: &str = "43200";

const PREFLIGHT_VARY: [&str; 3] = [
    "Origin",
    "Access-Control-Request-Method",
    "Access-Control-Request-Headers",
];

/// The origins that may call.
#[derive(Debug)]
pub(super) struct Origins {
    /// `OLLAMA_ORIGINS` has a `*`.
    any: bool,
    /// In lower case; each may have one `*`, which matches anything.
    patterns: Vec<String>,
}

impl Origins {
    /// Puts the configured origins before the built-in ones.
    pub(super) fn new(configured: &[String]) -> Self {
        let mut patterns: Vec<String> = configured
            .iter()
            .map(|origin| origin.to_ascii_lowercase())
            .collect();
        for host in LOCAL_HOSTS {
            for scheme in ["http", "https"] {
                patterns.push(format!("{scheme}://{host}"));
                patterns.push(format!("{scheme}://{host}:*"));
            }
        }
        patterns.extend(APP_SCHEMES.map(str::to_owned));
        Self {
            any: configured.iter().any(|origin| origin == "*"),
            patterns,
        }
    }

    pub(super) fn allows(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.any
            || self
                .patterns
                .iter()
                .any(|pattern| matches(pattern, &origin))
    }
}

fn matches(pattern: &str, origin: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == origin,
        Some((start, end)) => {
            origin.len() >= start.len() + end.len()
                && origin.starts_with(start)
                && origin.ends_with(end)
        }
    }
}

pub(super) async fn check(
    State(origins): State<Arc<Origins>>,
    request: Request,
    next: Next,
) -> Response {
    let host = host_of(request.headers(), request.uri());
    let Some(origin) = foreign_origin(request.headers(), host) else {
        return next.run(request).await;
    };
    if !origin.to_str().is_ok_and(|origin| origins.allows(origin)) {
        return StatusCode::FORBIDDEN.into_response();
    }
    if request.method() == Method::OPTIONS {
        let mut response = StatusCode::NO_CONTENT.into_response();
        preflight(response.headers_mut());
        allow(response.headers_mut(), origin, &origins, &PREFLIGHT_VARY);
        return response;
    }
    let mut response = next.run(request).await;
    allow(
        response.headers_mut(),
        origin,
        &origins,
        &PREFLIGHT_VARY[..1],
    );
    response
}

fn preflight(headers: &mut HeaderMap) {
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(METHODS),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(HEADERS),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue, origins: &Origins, vary: &[&'static str]) {
    if origins.any {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for name in vary {
        headers.append(VARY, HeaderValue::from_static(name));
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::ORIGIN;

    use super::*;

    #[test]
    fn pages_of_this_machine_and_of_desktop_programs_may_call() {
        let origins = Origins::new(&[]);
        for origin in [
            "http://localhost",
            "https://localhost:3000",
            "http://127.0.0.1:8080",
            "HTTP://LocalHost:1",
            "http://0.0.0.0:1",
            "app://obsidian.md",
            "file://",
            "tauri://localhost",
            "vscode-webview://abc",
            "vscode-file://vscode-app",
        ] {
            assert!(origins.allows(origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "http://localhost.example.com",
            "http://localhostx:1",
            "chrome-extension://abc",
            "moz-extension://abc",
            "null",
            "",
        ] {
            assert!(!origins.allows(origin), "{origin}");
        }
    }

    #[test]
    fn configured_origins_have_one_wildcard() {
        let configured = ["https://*.example.com", "chrome-extension://*", "http://a"];
        let origins = Origins::new(&configured.map(str::to_owned));
        for origin in [
            "https://x.example.com",
            "chrome-extension://abc",
            "http://A",
        ] {
            assert!(origins.allows(origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://x.example.com.evil",
            "http://ab",
        ] {
            assert!(!origins.allows(origin), "{origin}");
        }
        assert!(Origins::new(&["*".to_owned()]).allows("https://example.com"));
    }

    #[test]
    fn the_servers_own_page_is_not_foreign() {
        let mut headers = HeaderMap::new();
        assert_eq!(foreign_origin(&headers, "box:11434"), None);
        headers.insert(ORIGIN, HeaderValue::from_static("http://box:11434"));
        assert_eq!(foreign_origin(&headers, "box:11434"), None);
        assert!(foreign_origin(&headers, "box:1").is_some());
    }
}
