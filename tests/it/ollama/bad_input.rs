//! Whatever a client sends or a disk holds: an answer in the protocol's format, and the daemon survives.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Drover, TestServer, models};

/// Path, body, status and part of the error's text.
const BAD_REQUESTS: &[(&str, &str, u16, &str)] = &[
    ("/api/chat", "", 400, "missing request body"),
    ("/api/chat", "{\"model\": \"tiny\"", 400, ""),
    ("/api/chat", "not json", 400, ""),
    ("/api/chat", "[]", 400, ""),
    ("/api/chat", "{}", 400, "model is required"),
    (
        "/api/chat",
        r#"{"model": "a//b"}"#,
        400,
        "invalid model name",
    ),
    (
        "/api/chat",
        r#"{"model": "nobody"}"#,
        404,
        "model 'nobody' not found",
    ),
    (
        "/api/chat",
        r#"{"model": "tiny", "messages": "hi"}"#,
        400,
        "",
    ),
    (
        "/api/chat",
        r#"{"model": "tiny", "messages": [{"role": "user", "content": 5}]}"#,
        400,
        "",
    ),
    (
        "/api/chat",
        r#"{"model": "tiny", "stream": "yes"}"#,
        400,
        "",
    ),
    (
        "/api/generate",
        r#"{"model": ""}"#,
        404,
        "model '' not found",
    ),
    (
        "/api/generate",
        r#"{"model": "nobody", "prompt": "x"}"#,
        404,
        "model 'nobody' not found",
    ),
    (
        "/api/generate",
        r#"{"model": "tiny", "keep_alive": "5"}"#,
        400,
        "missing unit in duration",
    ),
    (
        "/api/generate",
        r#"{"model": "tiny", "prompt": "x", "format": "xml"}"#,
        500,
        "invalid format",
    ),
    (
        "/api/generate",
        r#"{"model": "tiny", "prompt": "x", "options": {"num_ctx": "big"}}"#,
        500,
        "option \"num_ctx\" must be of type integer",
    ),
    (
        "/api/generate",
        r#"{"model": "tiny", "prompt": "x", "think": true}"#,
        400,
        "does not support thinking",
    ),
    (
        "/api/generate",
        r#"{"model": "tiny", "prompt": "x", "images": ["%%%"]}"#,
        400,
        "",
    ),
    (
        "/api/generate",
        r#"{"model": "tiny", "prompt": "x", "top_logprobs": 99}"#,
        400,
        "top_logprobs must be between 0 and 20",
    ),
    (
        "/api/embed",
        r#"{"model": "nobody", "input": "x"}"#,
        404,
        "not found, try pulling it first",
    ),
    (
        "/api/embed",
        r#"{"model": "tiny", "input": 5}"#,
        400,
        "invalid input type",
    ),
    ("/api/show", "{}", 400, "model is required"),
    (
        "/api/show",
        r#"{"model": "nobody"}"#,
        404,
        "model 'nobody:latest' not found",
    ),
    (
        "/api/copy",
        r#"{"source": "nobody", "destination": "x"}"#,
        404,
        "model \"nobody\" not found",
    ),
    (
        "/api/create",
        r#"{"model": "new"}"#,
        400,
        "neither 'from' or 'files' was specified",
    ),
    (
        "/api/create",
        r#"{"model": "new", "files": {"/abs.gguf": "sha256:00"}}"#,
        400,
        "",
    ),
    ("/api/blobs/sha256:00", "x", 400, "invalid digest format"),
];

#[tokio::test]
async fn bad_requests_get_their_status_and_an_error_text() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    for (path, body, status, error) in BAD_REQUESTS {
        let answer = server
            .request(Method::POST, path, body.as_bytes().to_vec())
            .await;
        let context = format!("{path} {body}: {} {}", answer.status, answer.text);
        assert_eq!(answer.status, *status, "{context}");
        assert!(
            !answer.error().is_empty() && answer.error().contains(error),
            "{context}"
        );
    }
    let wrong = format!("/api/blobs/{}", models::digest(b"other"));
    let mismatch = server.request(Method::POST, &wrong, b"data".to_vec()).await;
    assert_eq!(mismatch.status, 400, "{}", mismatch.text);
    assert!(
        mismatch.error().starts_with("digest mismatch"),
        "{}",
        mismatch.text
    );
    server.get("/api/version").await.ok();
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let server = TestServer::builder()
        .env("DROVER_MAX_BODY", "100000")
        .start()
        .await;
    server.fake_model("tiny").await;
    let body = json!({"model": "tiny", "prompt": "x".repeat(200_000)});
    let answer = server.post("/api/generate", &body).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert_ne!(answer.error(), "");
    // Blobs are not requests: this limit does not apply to models.
    server.upload(vec![7; 200_000]).await;
}

#[tokio::test]
async fn broken_gguf_files_are_refused_when_a_model_is_made() {
    let server = TestServer::start().await;
    let whole = models::fake().build();
    let mut no_magic = whole.clone();
    no_magic[0] = b'X';
    let mut many_keys = whole.clone();
    many_keys[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    let cases = [
        ("empty", Vec::new()),
        ("four bytes", b"GGUF".to_vec()),
        ("no magic", no_magic),
        ("header cut", whole[..whole.len() / 4].to_vec()),
        ("tensor data cut", whole[..whole.len() - 64].to_vec()),
        ("absurd counts", many_keys),
    ];
    for (what, file) in cases {
        let answer = server.create("broken", file, json!({})).await;
        assert!(
            matches!(answer.status, 400 | 500),
            "{what}: {} {}",
            answer.status,
            answer.text
        );
        assert_ne!(answer.error(), "", "{what}");
    }
    assert_eq!(
        server.get("/api/tags").await.ok().json(),
        json!({"models": []})
    );
}

#[tokio::test]
async fn a_model_that_rots_on_the_disk_fails_alone() {
    let server = TestServer::start().await;
    server.fake_model("good").await;
    let file = models::fake().value("general.name", "bad").build();
    let blob = server
        .store()
        .join("blobs")
        .join(models::digest(&file).replace(':', "-"));
    server.create("bad", file.clone(), json!({})).await.ok();
    let bad = json!({"model": "bad", "prompt": "x", "stream": false});
    let good = json!({"model": "good", "prompt": "x", "stream": false});
    for content in [&b""[..], b"GGUF", &file[..file.len() / 3]] {
        fs_err::write(&blob, content).unwrap();
        let answer = server.post("/api/generate", &bad).await;
        assert!(
            answer.status >= 400 && !answer.error().is_empty(),
            "{} {}",
            answer.status,
            answer.text
        );
        server.post("/api/generate", &good).await.ok();
    }
    let manifest = server
        .store()
        .join("manifests/registry.ollama.ai/library/bad/latest");
    for content in ["", "{", "[]", "{\"layers\": 5}"] {
        fs_err::write(&manifest, content).unwrap();
        let answer = server.post("/api/generate", &bad).await;
        assert!(
            answer.status >= 400 && !answer.error().is_empty(),
            "{content}: {}",
            answer.text
        );
        let tags = server.get("/api/tags").await.ok().json();
        assert!(lists(&tags, "good:latest"), "{content}: {tags}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_stops_the_start_with_a_reason() {
    let root = TempDir::new().unwrap();
    fs_err::write(root.path().join("models"), "").unwrap();
    refuses_to_start(root.path()).await;
}

#[tokio::test]
async fn a_store_that_may_not_be_read_stops_the_start_with_a_reason() {
    let root = TempDir::new().unwrap();
    let store = root.path().join("models");
    fs_err::create_dir_all(store.join("blobs")).unwrap();
    fs_err::set_permissions(&store, Permissions::from_mode(0o000)).unwrap();
    let stderr = refuses_to_start(root.path()).await;
    fs_err::set_permissions(&store, Permissions::from_mode(0o755)).unwrap();
    assert!(stderr.contains("OLLAMA_MODELS"), "no advice: {stderr}");
    assert!(store.join("blobs").is_dir());
}

/// Starts a daemon on the store `models` below `root`; returns its error.
async fn refuses_to_start(root: &std::path::Path) -> String {
    let mut command = crate::support::hermetic(crate::support::program(), root);
    command.arg("serve").env("OLLAMA_HOST", "127.0.0.1:0");
    let output = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(20), output).await;
    let output = output.expect("it should end at once").unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let store = root.join("models");
    assert!(stderr.contains(store.to_str().unwrap()), "{stderr}");
    stderr
}

#[tokio::test]
async fn a_folder_without_permissions_is_not_fatal() {
    let server = TestServer::start().await;
    server.fake_model("good").await;
    let closed = server.store().join("manifests/example.com");
    fs_err::create_dir_all(&closed).unwrap();
    fs_err::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    let tags = server.get("/api/tags").await;
    fs_err::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
    // An incomplete list would look as if models were gone.
    assert_eq!(tags.status, 500, "{}", tags.text);
    // The log says where it is.
    assert!(tags.error().contains("`example.com`"), "{tags:?}");
    let log = server.log.text();
    assert!(log.contains(closed.to_str().unwrap()), "{log}");
    let tags = server.get("/api/tags").await.ok().json();
    assert!(lists(&tags, "good:latest"), "{tags}");
}

#[tokio::test]
async fn a_taken_port_is_said_in_words() {
    let server = TestServer::start().await;
    let second = Drover::of(&server).run(&["serve"]).await;
    let message = second.failed();
    assert!(
        message.contains(server.address()) && message.contains("in use"),
        "{message}"
    );
}

fn lists(tags: &Value, name: &str) -> bool {
    tags["models"]
        .as_array()
        .is_some_and(|models| models.iter().any(|model| model["name"] == name))
}
