//! The route table, missing bodies and names, the cloud's routes.

use serde_json::json;

use super::Fixture;

const JSON: &str = "application/json; charset=utf-8";

#[tokio::test]
async fn probes() {
    let fixture = Fixture::new();
    let root = fixture.call("GET /", "").await;
    assert_eq!(
        (root.status, root.body.as_str()),
        (200, "Ollama is running")
    );
    assert_eq!(root.header("content-type"), "text/plain; charset=utf-8");
    for path in ["/", "/health", "/api/version", "/api/tags"] {
        let head = fixture.call(&format!("HEAD {path}"), "").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    }
    let version = fixture.call("GET /api/version", "").await;
    assert_eq!(version.body, "{\"version\":\"0.34.3\"}");
    assert_eq!(version.header("content-type"), JSON);
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let fixture = Fixture::new();
    for line in [
        "GET /nope",
        "POST /api",
        "GET /api/tags/x",
        "POST /api/tags/",
    ] {
        let answer = fixture.call(line, "").await;
        assert_eq!(answer.status, 404, "{line}");
        assert_eq!(answer.body, "404 page not found");
        assert_eq!(answer.header("content-type"), "text/plain");
    }
    for (line, allow) in [
        ("POST /", "HEAD, GET"),
        ("POST /api/tags", "HEAD, GET"),
        ("HEAD /api/ps", "GET"),
        ("GET /api/chat", "POST"),
        ("POST /api/delete", "DELETE"),
        ("GET /api/blobs/sha256:00", "HEAD, POST"),
        ("OPTIONS /api/chat", "POST"),
    ] {
        let mut request = super::request(line, "");
        // An address in `Host`, so that OPTIONS gets as far as the routes.
        let host = "127.0.0.1:11434".parse().unwrap();
        request.headers_mut().insert("host", host);
        let answer = fixture.send(request).await;
        assert_eq!(answer.status, 405, "{line}");
        assert_eq!(answer.header("allow"), allow, "{line}");
        if !line.starts_with("HEAD") {
            assert_eq!(answer.body, "405 method not allowed");
        }
    }
}

#[tokio::test]
async fn a_slash_too_many_is_a_redirect() {
    let fixture = Fixture::new();
    for (line, status, target) in [
        ("GET /api/tags/?a=b", 301, "/api/tags?a=b"),
        ("POST /api/chat/", 307, "/api/chat"),
        ("HEAD /api/tags/", 307, "/api/tags"),
        ("DELETE /api/delete/", 307, "/api/delete"),
    ] {
        let answer = fixture.call(line, "").await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (status, target),
            "{line}"
        );
    }
}

#[tokio::test]
async fn an_empty_body_is_told_everywhere() {
    let fixture = Fixture::new();
    for line in [
        "POST /api/show",
        "POST /api/generate",
        "POST /api/chat",
        "POST /api/embed",
        "POST /api/embeddings",
        "POST /api/pull",
        "POST /api/push",
        "POST /api/create",
        "POST /api/copy",
        "DELETE /api/delete",
        "POST /api/experimental/web_search",
        "POST /api/experimental/web_fetch",
    ] {
        let answer = fixture.call(line, "").await;
        assert_eq!(answer.status, 400, "{line}");
        assert_eq!(answer.body, "{\"error\":\"missing request body\"}");
        assert_eq!(answer.header("content-type"), JSON);
    }
}

#[tokio::test]
async fn bad_names_have_each_routes_own_text() {
    let fixture = Fixture::new();
    let required = "model is required";
    let invalid = "invalid model name";
    for (path, model, status, text) in [
        ("/api/generate", "", 404, "model '' not found"),
        ("/api/generate", "a//b", 400, invalid),
        ("/api/generate", "No", 404, "model 'No' not found"),
        ("/api/chat", "", 400, required),
        ("/api/chat", "a b", 400, invalid),
        ("/api/chat", "no:x", 404, "model 'no:x' not found"),
        ("/api/embed", "", 404, "model '' not found"),
        ("/api/embed", "-a", 400, invalid),
        (
            "/api/embed",
            "no",
            404,
            "model \"no\" not found, try pulling it first",
        ),
        ("/api/embeddings", "", 400, required),
        ("/api/embeddings", "-a", 400, invalid),
        (
            "/api/embeddings",
            "no",
            404,
            "model \"no\" not found, try pulling it first",
        ),
        ("/api/show", "", 400, required),
        ("/api/show", "-a", 400, invalid),
        ("/api/show", "no", 404, "model 'no:latest' not found"),
        ("/api/pull", "", 400, invalid),
        ("/api/pull", "-a", 400, invalid),
        ("/api/push", "", 400, required),
        (
            "/api/chat",
            "a:cloud:local",
            400,
            "use either :local or :cloud, not both: \"a:cloud:local\"",
        ),
        (
            "/api/chat",
            "a:cloud",
            403,
            "ollama cloud is disabled: remote model is unavailable",
        ),
        (
            "/api/show",
            "a:20b-cloud",
            403,
            "ollama cloud is disabled: remote model details are unavailable",
        ),
    ] {
        let answer = fixture.post(path, json!({"model": model})).await;
        assert_eq!(answer.status, status, "{path} {model:?}: {}", answer.body);
        assert_eq!(answer.json(), json!({"error": text}), "{path} {model:?}");
    }
    for (model, status, text) in [
        ("", 400, "model is required"),
        ("-a", 400, "name \"-a\" is invalid"),
        ("No", 404, "model 'No' not found"),
    ] {
        let body = json!({"name": model}).to_string();
        let answer = fixture.call("DELETE /api/delete", body).await;
        assert_eq!(
            (answer.status, answer.json()),
            (status, json!({"error": text}))
        );
    }
    for (source, destination, status, text) in [
        ("", "b", 400, "source \"\" is invalid"),
        ("a", "-b", 400, "destination \"-b\" is invalid"),
        ("No", "b", 404, "model \"No\" not found"),
    ] {
        let body = json!({"source": source, "destination": destination});
        let answer = fixture.post("/api/copy", body).await;
        assert_eq!(
            (answer.status, answer.json()),
            (status, json!({"error": text}))
        );
    }
}

#[tokio::test]
async fn values_are_checked_before_names() {
    let fixture = Fixture::new();
    for (path, body, text) in [
        (
            "/api/chat",
            json!({"keep_alive": "5"}),
            "time: missing unit in duration \"5\"",
        ),
        (
            "/api/generate",
            json!({"keep_alive": true}),
            "Unsupported type: 'bool'",
        ),
        (
            "/api/generate",
            json!({"top_logprobs": 21}),
            "top_logprobs must be between 0 and 20",
        ),
        ("/api/embed", json!({"input": 1}), "invalid input type"),
    ] {
        let answer = fixture.post(path, body).await;
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"error": text}))
        );
    }
}

#[tokio::test]
async fn the_clouds_routes_are_refused_without_it() {
    let fixture = Fixture::new();
    let status = fixture.call("GET /api/status", "").await;
    assert_eq!(
        status.body,
        "{\"cloud\":{\"disabled\":true,\"source\":\"config\"}}"
    );
    let picks = fixture
        .call("GET /api/experimental/model-recommendations", "")
        .await;
    assert_eq!(picks.body, "{\"recommendations\":[]}");
    let signed_out = "you are not currently signed in";
    for (line, status, text) in [
        ("POST /api/me", 401, "unauthorized"),
        ("POST /api/signout", 401, signed_out),
        ("DELETE /api/user/keys/abc", 401, signed_out),
        (
            "POST /api/experimental/web_search",
            403,
            "ollama cloud is disabled: web search is unavailable",
        ),
        (
            "POST /api/experimental/web_fetch",
            403,
            "ollama cloud is disabled: web fetch is unavailable",
        ),
    ] {
        let answer = fixture.call(line, "{}").await;
        assert_eq!(
            (answer.status, answer.json()),
            (status, json!({"error": text}))
        );
    }
}
