//! A test registry that accepts pushes, and keeps the part of an upload that has arrived.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use drover::model::Digest;
use futures_util::StreamExt as _;

/// What it does instead of accepting a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    /// Refuses the request before its body is read.
    Before(u16),
    /// Handles the request, but the answer says that it failed.
    After(u16),
    /// Loses the request's upload.
    Forget,
    /// Cuts the last bytes of the request's upload.
    Shorten,
    /// The status of an upload does not say how much has arrived.
    NoRange,
}

/// A request as the test's rule gets it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    /// The range `first-last` of a part.
    pub(super) range: String,
}

type Rule = Box<dyn FnMut(&Asked) -> Fault + Send>;

#[derive(Default)]
struct Kept {
    uploads: HashMap<String, Vec<u8>>,
    blobs: HashMap<String, Vec<u8>>,
    manifests: HashMap<String, Vec<u8>>,
    asked: Vec<Asked>,
    rule: Option<Rule>,
    n_received: usize,
    redirects: bool,
}

/// The registry; it stops with the test's runtime.
#[derive(Clone, Default)]
pub(super) struct Taker(Arc<Mutex<Kept>>);

impl Taker {
    /// Starts it; also returns its address.
    pub(super) async fn start() -> (Self, String) {
        let taker = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let routes = Router::new().fallback(answer).with_state(taker.clone());
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(async move { axum::serve(listener, routes).await });
        (taker, address)
    }

    /// Sets the rule that decides about faults from now on.
    pub(super) fn rule(&self, rule: impl FnMut(&Asked) -> Fault + Send + 'static) {
        self.kept().rule = Some(Box::new(rule));
    }

    /// From now on parts go to a separate address, as at the public registry.
    pub(super) fn redirect(&self) {
        self.kept().redirects = true;
    }

    pub(super) fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        self.kept().blobs.get(digest).cloned()
    }

    /// The only manifest.
    pub(super) fn manifest(&self) -> Vec<u8> {
        let manifests = &self.kept().manifests;
        assert_eq!(manifests.len(), 1);
        manifests.values().next().unwrap().clone()
    }

    pub(super) fn has_manifest(&self) -> bool {
        !self.kept().manifests.is_empty()
    }

    /// Bytes of blobs that have arrived.
    pub(super) fn n_received(&self) -> usize {
        self.kept().n_received
    }

    pub(super) fn asked(&self, method: &Method) -> Vec<Asked> {
        let all = self.kept();
        let asked = all.asked.iter().filter(|asked| asked.method == method);
        asked.cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }
}

async fn answer(State(taker): State<Taker>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let asked = Asked {
        method: parts.method.clone(),
        path: path.clone(),
        range: text(&parts.headers, header::CONTENT_RANGE),
    };
    let fault = {
        let mut kept = taker.kept();
        kept.asked.push(asked.clone());
        kept.rule.as_mut().map_or(Fault::None, |rule| rule(&asked))
    };
    let id = path.rsplit('/').next().unwrap().to_owned();
    match fault {
        Fault::Before(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Fault::Forget => drop(taker.kept().uploads.remove(&id)),
        Fault::Shorten => {
            if let Some(upload) = taker.kept().uploads.get_mut(&id) {
                upload.pop();
            }
        }
        _ => {}
    }
    let query = parts.uri.query().unwrap_or_default();
    let done = match (parts.method, path.contains("/manifests/")) {
        (Method::PUT, true) => {
            let bytes = to_bytes(body, 1 << 20).await.unwrap().to_vec();
            taker.kept().manifests.insert(path, bytes);
            StatusCode::CREATED.into_response()
        }
        (Method::HEAD, _) => match taker.kept().blobs.contains_key(&id) {
            true => StatusCode::OK.into_response(),
            false => StatusCode::NOT_FOUND.into_response(),
        },
        (Method::POST, _) => {
            let id = format!("u{}", taker.kept().asked.len());
            taker.kept().uploads.insert(id.clone(), Vec::new());
            status(StatusCode::ACCEPTED, &format!("{path}{id}"), 0)
        }
        (Method::GET, _) => match taker.kept().uploads.get(&id) {
            Some(_) if fault == Fault::NoRange => StatusCode::NO_CONTENT.into_response(),
            Some(upload) => status(StatusCode::NO_CONTENT, &path, upload.len()),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        (Method::PATCH, _) => patch(&taker, &asked, &id, body).await,
        (Method::PUT, false) if path.starts_with("/store/") => {
            store(&taker, &id, query.parse().unwrap(), body).await
        }
        (Method::PUT, false) => commit(&taker, &id, query),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    match fault {
        Fault::After(status) => StatusCode::from_u16(status).unwrap().into_response(),
        _ => done,
    }
}

async fn patch(taker: &Taker, asked: &Asked, id: &str, body: Body) -> Response {
    let (first, last) = asked.range.split_once('-').unwrap();
    if taker.kept().redirects {
        let target = format!("/store/{id}?{first}");
        let headers = [
            (header::LOCATION.as_str(), target.as_str()),
            ("docker-upload-location", asked.path.as_str()),
        ];
        return (StatusCode::TEMPORARY_REDIRECT, headers).into_response();
    }
    let done = append(taker, id, first.parse().ok(), body).await;
    if done.status() != StatusCode::OK {
        return done;
    }
    let end = last.parse::<usize>().unwrap() + 1;
    status(StatusCode::ACCEPTED, &asked.path, end)
}

/// Adds arriving bytes to an upload, even if the connection breaks.
async fn append(taker: &Taker, id: &str, first: Option<usize>, body: Body) -> Response {
    match taker.kept().uploads.get(id) {
        None => return StatusCode::NOT_FOUND.into_response(),
        Some(upload) if Some(upload.len()) != first => {
            return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
        }
        Some(_) => {}
    }
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let mut kept = taker.kept();
        kept.n_received += chunk.len();
        if let Some(upload) = kept.uploads.get_mut(id) {
            upload.extend_from_slice(&chunk);
        }
    }
    StatusCode::OK.into_response()
}

/// Stores a part at its position, completely or not at all.
async fn store(taker: &Taker, id: &str, first: usize, body: Body) -> Response {
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut kept = taker.kept();
    kept.n_received += bytes.len();
    let Some(upload) = kept.uploads.get_mut(id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    upload.resize(upload.len().max(first + bytes.len()), 0);
    upload[first..first + bytes.len()].copy_from_slice(&bytes);
    StatusCode::OK.into_response()
}

fn commit(taker: &Taker, id: &str, query: &str) -> Response {
    let (_, digest) = query.split_once("digest=").unwrap();
    let digest = digest.split('&').next().unwrap().replace("%3A", ":");
    let mut kept = taker.kept();
    let Some(content) = kept.uploads.remove(id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if Digest::of(&content).to_string() != digest {
        return (StatusCode::BAD_REQUEST, "DIGEST_INVALID").into_response();
    }
    kept.blobs.insert(digest, content);
    StatusCode::CREATED.into_response()
}

/// How much has arrived, in the format of many registries: `0-0` also stands for nothing.
fn status(status: StatusCode, location: &str, length: usize) -> Response {
    let range = format!("0-{}", length.saturating_sub(1));
    let headers = [
        (header::LOCATION, location.to_owned()),
        (header::RANGE, range),
    ];
    (status, headers).into_response()
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    let value = headers.get(name).map(|value| value.to_str().unwrap());
    value.unwrap_or_default().to_owned()
}
