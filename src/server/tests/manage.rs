//! Copy, delete, blobs, pull and push.

use axum::body::Body;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::Fixture;
use crate::model::Digest;
use crate::model::gguf::builder::GgufBuilder;
use crate::net::Pattern;

#[tokio::test]
async fn copies_and_deletes() {
    let fixture = Fixture::new();
    fixture.add_model("a");
    let body = json!({"source": "A", "destination": "b:x"});
    let copied = fixture.post("/api/copy", body).await;
    assert_eq!((copied.status, copied.body.as_str()), (200, ""));
    assert_eq!(copied.header("content-length"), "0");
    let names = async || {
        let tags = fixture.call("GET /api/tags", "").await.json();
        let models = tags["models"].as_array().unwrap();
        let mut names: Vec<String> = models
            .iter()
            .map(|model| model["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names().await, ["a:latest", "b:x"]);
    for name in ["a:local", "B:x"] {
        let body = json!({"model": name}).to_string();
        let deleted = fixture.call("DELETE /api/delete", body).await;
        assert_eq!((deleted.status, deleted.body.as_str()), (200, ""), "{name}");
    }
    assert_eq!(names().await, [""; 0]);
    assert_eq!(fixture.blobs(), [""; 0]);
}

#[tokio::test]
async fn blobs_are_asked_for_sent_and_there() {
    let fixture = Fixture::new();
    let digest = Digest::of(b"content");
    let (head, post) = (
        format!("HEAD /api/blobs/{digest}"),
        format!("POST /api/blobs/{digest}"),
    );
    let statuses = [
        fixture.call(&head, "").await.status,
        fixture.call(&post, "content").await.status,
        fixture.call(&post, "not read").await.status,
        fixture.call(&head, "").await.status,
    ];
    assert_eq!(statuses, [404, 201, 200, 200]);
    assert_eq!(fixture.blobs(), [digest.file_name()]);
    let path = fixture.app.store.blob_path(&digest);
    assert_eq!(fs_err::read(path).unwrap(), b"content");
}

#[tokio::test]
async fn another_content_is_refused_and_gone() {
    let fixture = Fixture::new();
    let digest = Digest::of(b"content");
    let answer = fixture
        .call(&format!("POST /api/blobs/{digest}"), "other")
        .await;
    assert_eq!(answer.status, 400);
    let got = Digest::of(b"other");
    let text = format!("digest mismatch, expected \"{digest}\", got \"{got}\"");
    assert_eq!(answer.json(), json!({"error": text}));
    assert_eq!(fixture.blobs(), [""; 0]);
    let answer = fixture.call("POST /api/blobs/sha256:12", "x").await;
    assert_eq!(answer.json(), json!({"error": "invalid digest format"}));
    // Both spellings of a digest are the same blob.
    let spelled = digest
        .to_string()
        .to_uppercase()
        .replace("SHA256:", "sha256-");
    let answer = fixture
        .call(&format!("POST /api/blobs/{spelled}"), "content")
        .await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let fixture = Fixture::new();
    let digest = Digest::of(b"content");
    let pieces = stream::iter([Ok("cont"), Err(std::io::Error::other("gone"))]);
    let answer = fixture
        .call(
            &format!("POST /api/blobs/{digest}"),
            Body::from_stream(pieces),
        )
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(fixture.blobs(), [""; 0]);
}

#[tokio::test]
async fn an_upload_whose_client_leaves_leaves_nothing() {
    let fixture = Fixture::new();
    let digest = Digest::of(b"content");
    let (reached, waiting) = tokio::sync::oneshot::channel::<()>();
    let pieces = stream::iter([Ok::<_, std::io::Error>("cont")]).chain(stream::once(async {
        let _ = reached.send(());
        std::future::pending().await
    }));
    let line = format!("POST /api/blobs/{digest}");
    {
        let upload = fixture.call(&line, Body::from_stream(pieces));
        tokio::select! {
            answer = upload => panic!("answered {}", answer.status),
            _ = waiting => {}
        }
    }
    fixture.app.scheduler.shutdown().await;
    fixture.app.tasks.close();
    fixture.app.tasks.wait().await;
    assert_eq!(fixture.blobs(), [""; 0]);
}

#[tokio::test]
async fn pull_and_push_fail_as_a_registry_does() {
    // Nothing listens on port 1.
    const NOBODY: &str = "127.0.0.1:1/me/m";
    let fixture = Fixture::with(|config| {
        config.allowed_registries = Pattern::parse("127.0.0.1:1").into_iter().collect();
    });
    for (path, steps) in [
        ("/api/pull", &["pulling manifest"][..]),
        (
            "/api/push",
            &["retrieving manifest", "couldn't retrieve manifest"],
        ),
    ] {
        let answer = fixture
            .post(path, json!({"name": NOBODY, "insecure": true}))
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        let mut lines: Vec<&str> = answer.body.lines().collect();
        let error = lines.pop().unwrap();
        let expected = steps
            .iter()
            .map(|step| format!("{{\"status\":\"{step}\"}}"));
        assert_eq!(lines, expected.collect::<Vec<_>>());
        assert!(error.starts_with("{\"error\":\""), "{error}");
        let answer = fixture
            .post(
                path,
                json!({"model": NOBODY, "insecure": true, "stream": false}),
            )
            .await;
        assert_eq!((answer.status, answer.body.as_str()), (500, error));
    }
}

#[tokio::test]
async fn a_registry_that_may_not_be_named_is_403() {
    // These requests have no peer address, so they do not count as local.
    let fixture = Fixture::new();
    let wish = json!({"name": "127.0.0.1:1/me/m", "insecure": true, "stream": false});
    let answer = fixture.post("/api/pull", wish).await;
    assert_eq!(answer.status, 403);
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(
        error.contains("DROVER_ALLOWED_REGISTRIES=127.0.0.1 "),
        "{error}"
    );
}

/// Uploads a small model and returns the body that makes one of it.
async fn uploaded(fixture: &Fixture) -> serde_json::Value {
    let gguf = GgufBuilder::model("llama").build();
    let digest = Digest::of(&gguf);
    let line = format!("POST /api/blobs/{digest}");
    assert_eq!(fixture.call(&line, gguf).await.status, 201);
    json!({"name": "made", "files": {"m.gguf": digest.to_string()}, "system": "Be brief."})
}

#[tokio::test]
async fn models_are_made_of_uploads() {
    let fixture = Fixture::new();
    let mut body = uploaded(&fixture).await;
    let answer = fixture.post("/api/create", body.clone()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines: Vec<&str> = answer.body.lines().collect();
    assert!(
        lines.contains(&"{\"status\":\"parsing GGUF\"}"),
        "{lines:?}"
    );
    assert!(lines.ends_with(&[
        "{\"status\":\"writing manifest\"}",
        "{\"status\":\"success\"}"
    ]));
    body["stream"] = false.into();
    body["model"] = "again".into();
    let answer = fixture.post("/api/create", body).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.body, "{\"status\":\"success\"}");
    let shown = fixture.post("/api/show", json!({"model": "again"})).await;
    assert_eq!(shown.json()["system"], "Be brief.");
}

#[tokio::test]
async fn what_cannot_be_made_is_a_status() {
    let fixture = Fixture::new();
    let digest = Digest::of(b"").to_string();
    for (body, text) in [
        (
            json!({"model": "m"}),
            "neither 'from' or 'files' was specified",
        ),
        (json!({"files": {"a": digest}}), "invalid model name"),
        (json!({"model": "-m", "from": "x"}), "invalid model name"),
        (
            json!({"model": "m", "files": {"../a": digest}}),
            "file path must be relative",
        ),
        (
            json!({"model": "m", "files": {"a": ""}}),
            "invalid digest format",
        ),
        (
            json!({"model": "m", "from": "x", "draft_quantize": "q8_0"}),
            "--draft-quantize requires a DRAFT model",
        ),
    ] {
        for stream in [true, false] {
            let mut body = body.clone();
            body["stream"] = stream.into();
            let answer = fixture.post("/api/create", body).await;
            assert_eq!(
                (answer.status, answer.json()),
                (400, json!({"error": text}))
            );
        }
    }
}
