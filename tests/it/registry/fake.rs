//! A test registry with one model; the test controls its faults.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use drover::model::Digest;
use futures_util::stream;
use serde_json::{Value, json};

/// How many bytes of a body are sent at a time.
const CHUNK: usize = 16 << 10;

/// What the registry does instead of answering correctly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    Status(u16),
    /// The connection breaks after so many bytes.
    Cut(usize),
    /// Nothing more is sent after so many bytes.
    Stall(usize),
    /// Sends the whole blob, whatever range was requested.
    IgnoreRange,
    /// The right length, the wrong content.
    Garbage,
    /// More than was requested.
    TooLong,
    /// Reports a wrong length of the blob.
    WrongTotal,
    /// The part after the requested one.
    WrongPart,
    /// 401 with a challenge.
    Unauthorized,
    Redirect(String),
    /// One chunk every so many milliseconds.
    Slow(u64),
}

/// A request as the test's rule gets it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) range: Option<std::ops::Range<usize>>,
    pub(super) authorization: Option<String>,
}

type Rule = Box<dyn Fn(&Asked) -> Fault + Send + Sync>;

struct Shared {
    blobs: Mutex<HashMap<String, Bytes>>,
    manifest: Mutex<Vec<u8>>,
    rule: Mutex<Rule>,
    served: Arc<AtomicU64>,
    asked: Mutex<Vec<Asked>>,
    address: String,
}

/// The registry; it ends with the test's runtime.
#[derive(Clone)]
pub(super) struct Fake(Arc<Shared>);

impl Fake {
    /// Starts a registry that has a model with a blob of this content.
    pub(super) async fn start(model: Vec<u8>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let fake = Self(Arc::new(Shared {
            blobs: Mutex::default(),
            manifest: Mutex::default(),
            rule: Mutex::new(Box::new(|_| Fault::None)),
            served: Arc::default(),
            asked: Mutex::default(),
            address,
        }));
        let layer = fake.layer("application/vnd.ollama.image.model", model);
        let config = br#"{"model_format":"gguf","model_family":"llama","model_families":["llama"],"model_type":"1B","file_type":"F16","architecture":"amd64","os":"linux"}"#;
        let config = fake.layer(
            "application/vnd.docker.container.image.v1+json",
            config.to_vec(),
        );
        fake.set_manifest(&json!({"schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": config, "layers": [layer]}));
        let routes = Router::new().fallback(answer).with_state(fake.clone());
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(async move { axum::serve(listener, routes).await });
        fake
    }

    /// A model name whose host is this registry.
    pub(super) fn name(&self) -> String {
        format!("{}/library/m", self.0.address)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// Sets the rule that decides about faults from now on.
    pub(super) fn rule(&self, rule: impl Fn(&Asked) -> Fault + Send + Sync + 'static) {
        *self.0.rule.lock().unwrap() = Box::new(rule);
    }

    /// Sets the rule for the model's blob only.
    pub(super) fn blob_rule(&self, rule: impl Fn(&Asked) -> Fault + Send + Sync + 'static) {
        let config = self.manifest()["config"]["digest"]
            .as_str()
            .unwrap()
            .to_owned();
        self.rule(move |asked| {
            if asked.path.contains("/blobs/") && !asked.path.ends_with(&config) {
                rule(asked)
            } else {
                Fault::None
            }
        });
    }

    pub(super) fn manifest(&self) -> Value {
        serde_json::from_slice(&self.0.manifest.lock().unwrap()).unwrap()
    }

    pub(super) fn set_manifest(&self, manifest: &Value) {
        *self.0.manifest.lock().unwrap() = serde_json::to_vec_pretty(manifest).unwrap();
    }

    pub(super) fn manifest_bytes(&self) -> Vec<u8> {
        self.0.manifest.lock().unwrap().clone()
    }

    /// How many bytes of blobs were sent.
    pub(super) fn served(&self) -> u64 {
        self.0.served.load(Ordering::Relaxed)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.0.asked.lock().unwrap().clone()
    }

    fn layer(&self, media_type: &str, content: Vec<u8>) -> Value {
        let digest = Digest::of(&content).to_string();
        let layer = json!({"mediaType": media_type, "digest": digest, "size": content.len()});
        self.0.blobs.lock().unwrap().insert(digest, content.into());
        layer
    }
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let headers = request.headers();
    let asked = Asked {
        path: request.uri().path().to_owned(),
        range: range(headers),
        authorization: text(headers, header::AUTHORIZATION),
    };
    fake.0.asked.lock().unwrap().push(asked.clone());
    if asked.path == "/token" {
        return axum::Json(json!({"token": "secret"})).into_response();
    }
    let fault = (fake.0.rule.lock().unwrap())(&asked);
    match &fault {
        Fault::Status(status) => return StatusCode::from_u16(*status).unwrap().into_response(),
        Fault::Unauthorized => {
            let realm = format!(
                "Bearer realm=\"{}/token\",service=\"fake\",scope=\"pull\"",
                fake.url()
            );
            return (
                StatusCode::UNAUTHORIZED,
                [(header::WWW_AUTHENTICATE, realm)],
            )
                .into_response();
        }
        Fault::Redirect(base) => {
            let target = format!("{base}{}", asked.path);
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response();
        }
        _ => {}
    }
    if asked.path.contains("/manifests/") {
        return fake.manifest_bytes().into_response();
    }
    let digest = asked.path.rsplit('/').next().unwrap();
    let Some(blob) = fake.0.blobs.lock().unwrap().get(digest).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    blob_answer(&fake, &asked, &blob, fault)
}

fn blob_answer(fake: &Fake, asked: &Asked, blob: &Bytes, fault: Fault) -> Response {
    let mut total = blob.len();
    let range = asked.range.clone().filter(|_| fault != Fault::IgnoreRange);
    let Some(mut range) = range else {
        return (StatusCode::OK, body(fake, blob.clone(), fault)).into_response();
    };
    range.end = range.end.min(total);
    let mut content = blob.slice(range.clone());
    match fault {
        Fault::Garbage => content = content.iter().map(|byte| byte ^ 1).collect(),
        Fault::TooLong => content = [&content[..], b"more"].concat().into(),
        Fault::WrongTotal => total += 1,
        Fault::WrongPart => range.start += 1,
        _ => {}
    }
    let content_range = format!("bytes {}-{}/{total}", range.start, range.end - 1);
    let headers = [(header::CONTENT_RANGE, content_range)];
    (
        StatusCode::PARTIAL_CONTENT,
        headers,
        body(fake, content, fault),
    )
        .into_response()
}

/// Sends chunk by chunk, and counts the bytes that were accepted.
fn body(fake: &Fake, content: Bytes, fault: Fault) -> Body {
    let served = Arc::clone(&fake.0.served);
    Body::from_stream(stream::unfold(0, move |at| {
        let (content, served, fault) = (content.clone(), Arc::clone(&served), fault.clone());
        async move {
            let mut end = content.len().min(at + CHUNK);
            match fault {
                Fault::Cut(after) if at >= after => {
                    // What was written before is sent, as over a network.
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    return Some((Err(std::io::Error::other("cut")), at));
                }
                Fault::Stall(after) if at >= after => std::future::pending().await,
                Fault::Cut(after) | Fault::Stall(after) => end = end.min(after),
                Fault::Slow(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                _ => {}
            }
            if at == content.len() {
                return None;
            }
            served.fetch_add((end - at) as u64, Ordering::Relaxed);
            Some((Ok(content.slice(at..end)), end))
        }
    }))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().unwrap().to_owned())
}

fn range(headers: &HeaderMap) -> Option<std::ops::Range<usize>> {
    let text = text(headers, header::RANGE)?;
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some(start.parse().ok()?..end.parse::<usize>().ok()? + 1)
}
