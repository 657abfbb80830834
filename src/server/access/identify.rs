//! Finds out who a request is from: its key, or where it comes from.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::{Access, Who, is_direct};
use crate::keys::looks_like_key;
use crate::metrics::account;
use crate::server::origin::Origin;
use crate::server::state::{App, AppState};

/// Besides `Authorization`: the headers of Anthropic's clients, and of OpenAI's for Azure.
const HEADERS: [&str; 2] = ["x-api-key", "api-key"];

/// Longer texts are not keys.
const MAX_KEY: usize = 512;

/// Middleware: records in a request who it is from.
pub(in crate::server) async fn identify(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Response {
    let is_local = Origin::of_request(request.extensions()).is_local()
        && is_direct(request.version(), request.headers());
    let access = Access::new(of(&app, request.headers(), is_local));
    if let Some(key) = access.key() {
        account::note(|facts| facts.key.clone_from(&key.record.name));
    }
    request.extensions_mut().insert(access);
    request.extensions_mut().insert(app.audit.clone());
    next.run(request).await
}

fn of(app: &AppState, headers: &HeaderMap, is_local: bool) -> Who {
    if !app.keys.are_defined() {
        return Who::Open(is_local);
    }
    let now = Timestamp::now();
    let mut invalid = None;
    let needs_none = is_local && !app.config.access.keys_on_loopback;
    for presented in presented(headers) {
        match app.keys.find(&presented, now) {
            Ok(key) => return Who::Key(key),
            // Many programs insist on a key, so people enter any text. Only a text in our format is meant as a key.
            Err(_) if needs_none && !looks_like_key(&presented) => {}
            Err(reason) => invalid = Some(reason),
        }
    }
    match invalid {
        Some(reason) => Who::Invalid(reason),
        None if needs_none => Who::Local,
        None => Who::Nobody(app.config.access.anonymous.clone()),
    }
}

/// The keys of a request: some clients send the same key, or a key and a placeholder, in two headers.
fn presented(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let authorization = headers.get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| of_authorization(value.to_str().ok()?));
    let others = HEADERS.iter().filter_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    });
    let all = authorization.into_iter().chain(others);
    all.filter(|key| key.len() <= MAX_KEY)
}

/// `Bearer KEY`, or the password of `Basic`.
fn of_authorization(value: &str) -> Option<String> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return (!rest.is_empty()).then(|| rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") || rest.len() > 2 * MAX_KEY {
        return None;
    }
    let login = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (_, password) = login.split_once(':')?;
    (!password.is_empty()).then(|| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_in_the_headers_of_all_protocols() {
        let keys = |lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.insert(*name, value.parse().unwrap());
            }
            presented(&headers).collect::<Vec<_>>()
        };
        for (name, value) in [
            ("authorization", "Bearer k1"),
            ("authorization", "bearer  k1 "),
            // `me:k1`
            ("authorization", "Basic bWU6azE="),
            ("x-api-key", "k1"),
            ("api-key", "k1"),
        ] {
            assert_eq!(keys(&[(name, value)]), ["k1"], "{name} {value}");
        }
        let both = keys(&[("x-api-key", "k2"), ("authorization", "Bearer k1")]);
        assert_eq!(both, ["k1", "k2"]);
        for value in [
            "k1",
            "Bearer",
            "Bearer ",
            "Digest k1",
            "Basic !!",
            "Basic bWU=",
            "Basic bWU6",
        ] {
            assert!(keys(&[("authorization", value)]).is_empty(), "{value}");
        }
        let long = format!("Bearer {}", "x".repeat(MAX_KEY + 1));
        assert!(keys(&[("authorization", &long)]).is_empty());
    }
}
