//! The routes in process: what a request meets before and without a model that runs. Answers of
//! models are tested against the real binary.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::config::env;
use crate::inference::Inference;
use crate::model::gguf::builder::GgufBuilder;
use crate::model::manifest::{MEDIA_CONFIG, MEDIA_MODEL};
use crate::model::{Manifest, ModelName};
use crate::scheduler::SchedulerHandle;
use crate::server::router::routes;
use crate::server::state::{App, AppState};
use crate::store::Store;

/// A daemon with a store of its own, whose runners cannot start.
struct Daemon {
    app: App,
    _folder: TempDir,
}

impl Daemon {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let config = env::load(&|name| match name {
            "HOME" | "OLLAMA_MODELS" | "DROVER_STATE_DIR" => Some(home.clone()),
            "DROVER_MAX_BODY" => Some("4096".to_owned()),
            _ => None,
        });
        let config = Arc::new(config.unwrap().config);
        let store = Store::open(folder.path()).unwrap();
        let tasks = TaskTracker::new();
        let scheduler = SchedulerHandle::start(&config, folder.path().join("none"), &tasks);
        let app = Arc::new(AppState {
            inference: Inference::new(store.clone(), scheduler.clone()),
            store,
            scheduler,
            config,
            tasks,
            cut_off: CancellationToken::new(),
        });
        Self {
            app,
            _folder: folder,
        }
    }

    /// Adds a chat model.
    fn with_model(self, name: &str) -> Self {
        let gguf = GgufBuilder::model("llama")
            .value("tokenizer.chat_template", "{{ messages[0].content }}")
            .build();
        let store = &self.app.store;
        let layer = store.write_layer(MEDIA_MODEL, &gguf).unwrap();
        let config = store.write_layer(MEDIA_CONFIG, b"{}").unwrap();
        let manifest = Manifest::new(config, vec![layer]);
        let name = ModelName::parse(name).unwrap();
        store.write_manifest(&name, &manifest).unwrap();
        self
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Response {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(body.into()).unwrap();
        let router = routes().with_state(self.app.clone());
        router.oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        decoded(self.send(Method::GET, path, Body::empty()).await).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        decoded(self.send(Method::POST, path, body.to_string()).await).await
    }
}

async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn decoded(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
    assert!(kind.starts_with("application/json"), "{kind}");
    (status, serde_json::from_str(&text(response).await).unwrap())
}

fn envelope(message: &str, kind: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
}

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}]})
}

#[tokio::test]
async fn an_unknown_model_is_not_found() {
    let daemon = Daemon::new();
    let mut streamed = chat("nope");
    streamed["stream"] = json!(true);
    for (path, body, message) in [
        (
            "/v1/chat/completions",
            chat("nope"),
            "model 'nope' not found",
        ),
        ("/v1/chat/completions", streamed, "model 'nope' not found"),
        (
            "/v1/completions",
            json!({"model": "nope", "prompt": "x"}),
            "model 'nope' not found",
        ),
        (
            "/v1/completions",
            json!({"prompt": "x"}),
            "model '' not found",
        ),
        (
            "/v1/embeddings",
            json!({"model": "nope", "input": "x"}),
            "model \"nope\" not found, try pulling it first",
        ),
    ] {
        let expected = (404, envelope(message, "not_found_error"));
        assert_eq!(daemon.post(path, body).await, expected, "{path}");
    }
    let expected = envelope("model 'nope:latest' not found", "not_found_error");
    assert_eq!(daemon.get("/v1/models/nope").await, (404, expected));
}

#[tokio::test]
async fn mistakes_are_400_in_the_envelope() {
    let daemon = Daemon::new().with_model("m");
    for (path, body, message) in [
        ("/v1/chat/completions", "", "EOF"),
        ("/v1/completions", " ", "EOF"),
        ("/v1/embeddings", "{\"model\"", "unexpected EOF"),
        (
            "/v1/chat/completions",
            r#"{"model":"m"}"#,
            "[] is too short - 'messages'",
        ),
        (
            "/v1/chat/completions",
            r#"{"messages":[{"role":"user","content":"x"}]}"#,
            "model is required",
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"m","reasoning_effort":"low","messages":[{"role":"user","content":"x"}]}"#,
            "\"m\" does not support thinking",
        ),
        ("/v1/embeddings", r#"{"model":"m"}"#, "invalid input"),
    ] {
        let response = daemon.send(Method::POST, path, body).await;
        let expected = (400, envelope(message, "invalid_request_error"));
        assert_eq!(decoded(response).await, expected, "{path} {body}");
    }
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_is_a_status_in_both_modes() {
    let daemon = Daemon::new().with_model("m");
    for is_stream in [false, true] {
        let mut body = chat("m");
        body["stream"] = json!(is_stream);
        let (status, answer) = daemon.post("/v1/chat/completions", body).await;
        assert_eq!(status, 500);
        assert_eq!(answer["error"]["type"], "api_error");
        assert_ne!(answer["error"]["message"], "");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let daemon = Daemon::new();
    let body = json!({"model": "m", "input": "x".repeat(5000)});
    let (status, answer) = daemon.post("/v1/embeddings", body).await;
    assert_eq!(status, 413);
    assert!(answer["error"]["message"].is_string());
}

#[tokio::test]
async fn other_methods_and_paths_are_told_in_plain_text() {
    let daemon = Daemon::new();
    for (method, path, allow) in [
        (Method::GET, "/v1/chat/completions", "POST"),
        (Method::HEAD, "/v1/models", "GET"),
        (Method::DELETE, "/v1/models/a/b", "GET"),
    ] {
        let response = daemon.send(method, path, Body::empty()).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(response.headers()[header::ALLOW], allow);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain");
    }
    let response = daemon
        .send(Method::POST, "/v1/nothing", Body::empty())
        .await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(text(response).await, "404 page not found");
}

#[tokio::test]
async fn an_empty_store_lists_nothing() {
    let expected = json!({"object": "list", "data": []});
    assert_eq!(Daemon::new().get("/v1/models").await, (200, expected));
}

#[tokio::test]
async fn models_are_listed_and_found_by_name() {
    let daemon = Daemon::new().with_model("hf.co/user/repo:Q4");
    let (status, list) = daemon.get("/v1/models").await;
    assert_eq!(status, 200);
    let model = &list["data"][0];
    assert!(model["created"].as_i64().is_some_and(|seconds| seconds > 0));
    assert_eq!(
        (&model["id"], &model["object"], &model["owned_by"]),
        (
            &json!("hf.co/user/repo:Q4"),
            &json!("model"),
            &json!("user")
        )
    );
    for path in ["hf.co/user/repo:Q4", "hf.co%2Fuser%2Frepo%3AQ4"] {
        let found = daemon.get(&format!("/v1/models/{path}")).await;
        assert_eq!(found, (200, model.clone()), "{path}");
    }
    let expected = envelope("invalid model name", "invalid_request_error");
    assert_eq!(daemon.get("/v1/models/a@b").await, (400, expected));
}
