//! The access check in front of every route.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};

use super::queue;
use super::revocable::{Bound, Revocable};
use super::{Access, Need, Who};
use crate::error::ErrorKind;
use crate::keys::{Invalid, Key, Refused, Scope};
use crate::server::audit::{Audit, Record};
use crate::server::browser::is_foreign;
use crate::server::error::{ApiError, is_anthropic, spelled_for};
use crate::server::origin::Peer;
use crate::server::watched::Watched;

/// Lets a request through, or refuses it; records changes.
pub(in crate::server) async fn guard(
    need: Need,
    path: &'static str,
    request: Request,
    next: Next,
) -> Response {
    let Some(mut record) = begin(need, path, &request) else {
        return queue::told(need, request, |request| admit(need, request, next)).await;
    };
    let response = admit(need, request, next).await;
    record.answered(response.status());
    response.map(|body| Body::new(Watched::new(body, record)))
}

/// Begins the audit record of a change. A request without a valid key changes nothing, and must not fill the log.
fn begin(need: Need, path: &'static str, request: &Request) -> Option<Record> {
    let changes = matches!(need, Need::Scope(Scope::Models | Scope::Admin));
    let method = request.method();
    if !changes || matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let access = request.extensions().get::<Access>()?;
    let audit = request.extensions().get::<Audit>()?;
    if matches!(access.who, Who::Nobody(_) | Who::Invalid(_)) {
        return None;
    }
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let address = peer.map_or_else(String::new, |peer| peer.0.0.ip().to_canonical().to_string());
    let act = access.act().clone();
    Some(audit.begin(act, access.who.name(), address, (method, path)))
}

/// Lets a request through, or refuses it. It counts against its key's limits until its answer has ended.
async fn admit(need: Need, request: Request, next: Next) -> Response {
    let access = request.extensions().get::<Access>().cloned();
    let (uri, headers) = (request.uri().clone(), request.headers());
    let is_v1_models = headers.contains_key("anthropic-version");
    let refuse = |error| spelled_for(error, uri.path(), is_v1_models);
    let Some(access) = access else {
        return refuse(ApiError::internal("the request was not identified"));
    };
    if let Err(error) = check(&access.who, need, headers, &uri) {
        let needs_key = error.kind == ErrorKind::Unauthorized;
        let mut response = refuse(error);
        if needs_key {
            let bearer = HeaderValue::from_static("Bearer realm=\"drover\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, bearer);
        }
        return response;
    }
    let Some(key) = access.key().cloned() else {
        return next.run(request).await;
    };
    // (An administrator who revokes the key in use still gets the answer.)
    if matches!(need, Need::Nothing | Need::Scope(Scope::Admin)) {
        return next.run(request).await;
    }
    let works = need == Need::Scope(Scope::Inference) && request.method() == Method::POST;
    let place = if works {
        let entering = queue::in_time(request.extensions(), key.usage.enter());
        match entering.await {
            Err(error) => return refuse(error),
            Ok(Ok(place)) => place,
            Ok(Err(refused)) => {
                let mut response = refuse(limited(&refused));
                tell_limits(response.headers_mut(), &key, uri.path());
                return response;
            }
        }
    } else {
        None
    };
    let revoked = key.revoked.clone();
    let mut response = tokio::select! {
        biased;
        // The key may have been revoked while the request waited.
        () = revoked.cancelled() => return refuse(not_valid(Invalid::Unknown)),
        response = next.run(request) => response,
    };
    if works {
        tell_limits(response.headers_mut(), &key, uri.path());
    }
    response.map(|body| Body::new(Revocable::new(body, Bound::new(place, revoked))))
}

fn check(who: &Who, need: Need, headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
    let Need::Scope(scope) = need else {
        return Ok(());
    };
    let no_key = || {
        let message = "This server needs an API key: send it as `Authorization: Bearer KEY`, or as `x-api-key: KEY`.";
        ApiError::new(ErrorKind::Unauthorized, message).coded("missing_api_key")
    };
    // A page of another program on this machine does not act as an administrator.
    let is_page = || scope == Scope::Admin && is_foreign(headers, uri);
    match who {
        Who::Inside(_) => Ok(()),
        Who::Key(key) if key.record.scopes.have(scope) => Ok(()),
        Who::Key(_) => {
            let message = format!(
                "You have insufficient permissions for this operation. The API key needs the scope `{scope}`."
            );
            Err(ApiError::new(ErrorKind::Forbidden, message).coded("missing_scope"))
        }
        Who::Invalid(reason) => Err(not_valid(*reason)),
        Who::Nobody(scopes) if scopes.have(scope) && scope != Scope::Admin => Ok(()),
        Who::Nobody(_) => Err(no_key()),
        Who::Open(true) | Who::Local if is_page() => Err(elsewhere()),
        Who::Open(true) | Who::Local => Ok(()),
        Who::Open(false) if scope == Scope::Admin => Err(elsewhere()),
        Who::Open(false) => Ok(()),
    }
}

fn not_valid(reason: Invalid) -> ApiError {
    let message = format!("Incorrect API key provided: {reason}.");
    ApiError::new(ErrorKind::Unauthorized, message).coded("invalid_api_key")
}

fn elsewhere() -> ApiError {
    let message =
        "Without an API key of the scope `admin` this is for programs on the server's own machine.";
    ApiError::new(ErrorKind::Forbidden, message).coded("missing_scope")
}

fn limited(refused: &Refused) -> ApiError {
    ApiError::new(ErrorKind::RateLimited, refused.to_string())
        .coded("rate_limit_exceeded")
        .retry_after(refused.retry_after())
}

/// OpenAI's headers, or Anthropic's.
fn tell_limits(headers: &mut HeaderMap, key: &Arc<Key>, path: &str) {
    let state = key.usage.state();
    let mut tell = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let for_anthropic = is_anthropic(path);
    if let Some((limit, left)) = state.requests {
        if for_anthropic {
            tell("anthropic-ratelimit-requests-limit", limit.to_string());
            tell("anthropic-ratelimit-requests-remaining", left.to_string());
        } else {
            tell("x-ratelimit-limit-requests", limit.to_string());
            tell("x-ratelimit-remaining-requests", left.to_string());
        }
    }
    if let Some((limit, left, whole)) = state.tokens {
        if for_anthropic {
            tell("anthropic-ratelimit-tokens-limit", limit.to_string());
            tell("anthropic-ratelimit-tokens-remaining", left.to_string());
            let reset = SignedDuration::try_from(whole).unwrap_or_default();
            let reset = Timestamp::now().saturating_add(reset);
            if let Ok(reset) = reset {
                tell("anthropic-ratelimit-tokens-reset", format!("{reset:.0}"));
            }
        } else {
            tell("x-ratelimit-limit-tokens", limit.to_string());
            tell("x-ratelimit-remaining-tokens", left.to_string());
            let reset = (whole.as_secs_f64() * 1e3).ceil() / 1e3;
            tell("x-ratelimit-reset-tokens", format!("{reset}s"));
        }
    }
}
