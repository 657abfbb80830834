//! The routes in process, against a temporary store.

mod keys;
mod manage;
mod models;
mod openai;
mod protect;
mod routes;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::audit::Audit;
use super::extract::Memory;
use super::gate::Gates;
use super::middleware;
use super::openai::Responses;
use super::router;
use super::state::{App, AppState};
use crate::config::{Config, env};
use crate::inference::Inference;
use crate::jobs::{self, Jobs};
use crate::keys::Keys;
use crate::model::gguf::builder::GgufBuilder;
use crate::model::{Manifest, ModelName, manifest as media};
use crate::registry::{self, Registry};
use crate::scheduler::SchedulerHandle;
use crate::store::Store;
use crate::workers::{self, Workers};

/// An application over its own store; its runners never start.
pub(super) struct Fixture {
    pub(super) app: App,
    /// Removed at the end.
    _folder: TempDir,
}

/// An answer, read whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let loaded = env::load(&|name| (name == "HOME").then(|| home.clone())).unwrap();
        let mut config = loaded.config;
        change(&mut config);
        let config = Arc::new(config);
        let tasks = TaskTracker::new();
        let store = Store::open(&config.models).unwrap();
        let scheduler = SchedulerHandle::start(&config, "/bin/false".into(), &tasks);
        let settings = registry::Settings {
            allowed: config.allowed_registries.clone(),
            ..registry::Settings::new(config.registry_key.clone(), Vec::new())
        };
        let registry = Registry::new(store.clone(), settings, &tasks).unwrap();
        let settings = workers::Settings::new("/bin/false".into(), config.template_timeout);
        let workers = Workers::new(settings, &tasks);
        let limits = jobs::Limits {
            disk: config.batch_disk,
            settings: jobs::Settings {
                window: 86_400,
                hours: None,
            },
        };
        let keys = Keys::open(&config.access.keys_file, false).unwrap();
        let app = AppState {
            inference: Inference::new(
                store.clone(),
                scheduler.clone(),
                workers,
                keys.clone(),
                None,
            ),
            store,
            registry,
            scheduler,
            jobs: Jobs::new(&config.state_dir, &limits, &tasks),
            responses: Responses::new(&config),
            memory: Memory::new(config.body_memory),
            config,
            exe: "/bin/false".into(),
            started: std::time::Instant::now(),
            gates: Gates::default(),
            keys,
            audit: Audit::new(None, &tasks),
            tls: None,
            tasks,
            draining: CancellationToken::new(),
            cut_off: CancellationToken::new(),
        };
        Self {
            app: Arc::new(app),
            _folder: folder,
        }
    }

    /// Puts a small chat model into the store.
    pub(super) fn add_model(&self, name: &str) {
        self.add(name, &json!({}), GgufBuilder::model("llama"));
    }

    /// Puts a model into the store; `extra` goes over the usual config.
    pub(super) fn add(&self, name: &str, extra: &Value, gguf: GgufBuilder) {
        let mut config = json!({
            "model_format": "gguf", "model_family": "llama", "model_families": ["llama"],
            "model_type": "8.0B", "file_type": "Q4_K_M",
        });
        let extra = extra.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(extra);
        let store = &self.app.store;
        let layer = |kind: &str, content: &[u8]| store.write_layer(kind, content).unwrap();
        let layers = vec![
            layer(media::MEDIA_MODEL, &gguf.build()),
            layer(media::MEDIA_SYSTEM, b"Be <brief>."),
            layer(media::MEDIA_PARAMS, br#"{"stop":["<|end|>"],"num_ctx":64}"#),
        ];
        let config = layer(media::MEDIA_CONFIG, config.to_string().as_bytes());
        let name = ModelName::parse(name).unwrap();
        let manifest = Manifest::new(config, layers);
        store.write_manifest(&name, &manifest).unwrap();
    }

    /// The names of all files in the store's `blobs`.
    pub(super) fn blobs(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.app.store.root().join("blobs")).unwrap();
        let name = |entry: std::io::Result<fs_err::DirEntry>| entry.unwrap().file_name();
        entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect()
    }

    pub(super) fn router(&self, routes: Router<App>) -> Router {
        let address = "127.0.0.1:11434".parse().unwrap();
        middleware::wrap(routes, &self.app, address).with_state(Arc::clone(&self.app))
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        answer(self.router(router::routes()), request).await
    }

    /// Sends `<METHOD> <path>` with a body.
    pub(super) async fn call(&self, line: &str, body: impl Into<Body>) -> Answer {
        self.send(request(line, body)).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(&format!("POST {path}"), body.to_string()).await
    }
}

pub(super) fn request(line: &str, body: impl Into<Body>) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:11434")
        .body(body.into())
        .unwrap()
}

pub(super) async fn answer(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}
