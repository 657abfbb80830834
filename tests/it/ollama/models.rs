//! `/`, `/api/version`, `/api/tags`, `/api/show`, `/api/ps`, and the routes that change the store.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::TestServer;

#[tokio::test]
async fn clients_find_what_they_probe_for() {
    let server = TestServer::start().await;
    let root = server.get("/").await.ok();
    assert_eq!(root.text, "Ollama is running");
    assert_eq!(
        server.request(Method::HEAD, "/", Vec::new()).await.status,
        200
    );
    let version = server.get("/api/version").await.ok().json();
    let parts: Vec<&str> = version["version"].as_str().unwrap().split('.').collect();
    assert!(
        parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok()),
        "{version}"
    );
    assert_eq!(
        server.get("/api/tags").await.ok().json(),
        json!({"models": []})
    );
    assert_eq!(
        server.get("/api/ps").await.ok().json(),
        json!({"models": []})
    );
    let unknown = server.get("/api/nothing").await;
    assert_eq!(
        (unknown.status, unknown.text.as_str()),
        (404, "404 page not found")
    );
    let wrong = server.get("/api/chat").await;
    assert_eq!(
        (wrong.status, wrong.text.as_str()),
        (405, "405 method not allowed")
    );
    assert_eq!(wrong.headers["allow"], "POST");
}

#[tokio::test]
async fn a_created_model_is_listed_shown_copied_and_deleted() {
    let server = TestServer::start().await;
    let file = crate::support::models::fake().build();
    let extra = json!({"parameters": {"num_ctx": 512, "stop": ["END"]}, "system": "Be brief."});
    server.create("Tiny", file, extra).await.ok();

    let tags = server.get("/api/tags").await.ok().json();
    let entry = &tags["models"][0];
    assert_eq!(
        (&entry["name"], &entry["model"]),
        (&json!("Tiny:latest"), &json!("Tiny:latest"))
    );
    assert_eq!(entry["details"]["family"], "drover-fake");
    assert_eq!(entry["details"]["format"], "gguf");
    assert_eq!(entry["digest"].as_str().unwrap().len(), 64);

    // The case of names does not matter, and `name` works like `model`.
    let shown = server
        .post("/api/show", &json!({"name": "tiny"}))
        .await
        .ok()
        .json();
    assert_eq!(shown["system"], "Be brief.");
    let parameters = shown["parameters"].as_str().unwrap();
    assert!(
        parameters.contains("num_ctx") && parameters.contains("\"END\""),
        "{parameters}"
    );
    assert_eq!(shown["model_info"]["general.architecture"], "drover-fake");
    assert!(has(&shown["capabilities"], "completion"), "{shown}");

    let copy = json!({"source": "tiny", "destination": "other:v1"});
    assert_eq!(server.post("/api/copy", &copy).await.ok().text, "");
    assert_eq!(names(&server).await, ["Tiny:latest", "other:v1"]);
    delete(&server, "TINY").await;
    delete(&server, "other:v1").await;
    assert_eq!(names(&server).await, [""; 0]);
    let blobs = fs_err::read_dir(server.store().join("blobs"))
        .unwrap()
        .count();
    assert_eq!(blobs, 0, "blobs that nobody uses stay behind");
}

#[tokio::test]
async fn ps_shows_a_loaded_model_and_keep_alive_zero_ends_it() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let load = server
        .post(
            "/api/generate",
            &json!({"model": "tiny", "keep_alive": "10m"}),
        )
        .await
        .ok();
    assert_eq!(
        (&load.json()["done_reason"], &load.json()["done"]),
        (&json!("load"), &json!(true))
    );
    let ps = server.get("/api/ps").await.ok().json();
    let entry = &ps["models"][0];
    assert_eq!(entry["name"], "tiny:latest");
    assert!(entry["context_length"].as_u64().unwrap() > 0, "{entry}");
    assert!(
        entry["expires_at"].as_str().unwrap().contains('T'),
        "{entry}"
    );
    let runner = server.runner();

    let unload = json!({"model": "tiny", "keep_alive": 0});
    let answer = server.post("/api/generate", &unload).await.ok().json();
    assert_eq!(answer["done_reason"], "unload");
    runner.ended("the unloaded runner").await;
    server.no_runners().await;
    assert_eq!(
        server.get("/api/ps").await.ok().json(),
        json!({"models": []})
    );
}

#[tokio::test]
async fn an_answer_with_keep_alive_zero_is_whole_and_unloads_afterwards() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let body = json!({"model": "tiny", "prompt": "hello", "keep_alive": 0, "stream": false});
    let answer = server.post("/api/generate", &body).await.ok().json();
    assert_eq!(answer["done"], true);
    assert_ne!(answer["response"], "");
    server.no_runners().await;
}

#[tokio::test]
async fn a_restart_finds_all_models_again() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let before = server.get("/api/tags").await.ok().json();
    let root = server.stopped().await;
    let server = TestServer::builder().root(root).start().await;
    assert_eq!(server.get("/api/tags").await.ok().json(), before);
    let body = json!({"model": "tiny", "prompt": "hello", "stream": false});
    server.post("/api/generate", &body).await.ok();
}

#[tokio::test]
async fn a_blob_that_is_there_may_be_sent_again() {
    let server = TestServer::start().await;
    let file: Vec<u8> = (0..8_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let path = format!("/api/blobs/{}", crate::support::models::digest(&file));
    for (method, status) in [
        (Method::HEAD, 404),
        (Method::POST, 201),
        (Method::HEAD, 200),
        (Method::POST, 200),
        (Method::POST, 200),
    ] {
        let body = if method == Method::POST {
            file.clone()
        } else {
            Vec::new()
        };
        let answer = server.request(method.clone(), &path, body).await;
        assert_eq!(answer.status, status, "{method}: {}", answer.text);
    }
}

#[tokio::test]
async fn creating_reports_each_step_and_builds_on_what_is_there() {
    let server = TestServer::start().await;
    let digest = server.upload(crate::support::models::fake().build()).await;
    let body = json!({"model": "base", "files": {"model.gguf": digest}});
    let statuses = statuses(&server, &body).await;
    assert_eq!(
        statuses.first().map(String::as_str),
        Some("parsing GGUF"),
        "{statuses:?}"
    );
    assert!(
        statuses.iter().any(|status| status.ends_with(&digest)),
        "{statuses:?}"
    );
    let end = &statuses[statuses.len() - 2..];
    assert_eq!(end, ["writing manifest", "success"]);

    let body = json!({"model": "derived", "from": "base", "system": "Be brief."});
    let statuses = self::statuses(&server, &body).await;
    let reused = format!("using existing layer {digest}");
    assert!(statuses.contains(&reused), "{statuses:?}");
    let body = json!({"model": "x", "from": "nobody"});
    let lines = server.post("/api/create", &body).await.lines();
    assert!(lines.last().unwrap()["error"].is_string(), "{lines:?}");
}

async fn statuses(server: &TestServer, body: &Value) -> Vec<String> {
    let lines = server.post("/api/create", body).await.ok().lines();
    let status = |line: &Value| line["status"].as_str().map(str::to_owned);
    lines
        .iter()
        .map(|line| status(line).unwrap_or_else(|| panic!("{line}")))
        .collect()
}

async fn names(server: &TestServer) -> Vec<String> {
    let tags = server.get("/api/tags").await.ok().json();
    let models = tags["models"].as_array().unwrap();
    let mut names: Vec<String> = models
        .iter()
        .map(|model| model["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

async fn delete(server: &TestServer, name: &str) {
    let body = json!({ "model": name }).to_string().into_bytes();
    server
        .request(Method::DELETE, "/api/delete", body)
        .await
        .ok();
}

fn has(list: &Value, item: &str) -> bool {
    list.as_array()
        .is_some_and(|list| list.iter().any(|found| found == item))
}
