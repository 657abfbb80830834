//! Names that try to leave the store, manifests of other things, hostile JSON: refused with an error, over HTTP and on
//! the command line, and nothing is written outside.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Drover, TestServer, models};

/// None of these may ever become a path.
const BAD_NAMES: &[&str] = &[
    "../../etc/passwd",
    "..",
    "../x",
    "/etc/passwd",
    "a/../../b",
    "../a/b",
    "host/../b:c",
    "a:../../b",
    "a:b/../c",
    "a:..",
    "host:99/../x",
    "-a",
    ".hidden",
    "a\\..\\b",
    "a\u{0}b",
    "a b",
    "a\nb",
    "a@sha256:../../x",
    "http://../../x",
    "[::1]/../x/y",
];

#[tokio::test]
async fn names_that_would_leave_the_store_are_refused() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let before = tree(server.root());
    for name in BAD_NAMES {
        for (method, path, body) in [
            (
                Method::POST,
                "/api/create",
                json!({"model": name, "from": "tiny", "stream": false}),
            ),
            (
                Method::POST,
                "/api/copy",
                json!({"source": "tiny", "destination": name}),
            ),
            (
                Method::POST,
                "/api/copy",
                json!({"source": name, "destination": "fine"}),
            ),
            (Method::DELETE, "/api/delete", json!({"model": name})),
            (Method::POST, "/api/show", json!({"model": name})),
            (
                Method::POST,
                "/api/generate",
                json!({"model": name, "prompt": "x"}),
            ),
            (
                Method::POST,
                "/api/chat",
                json!({"model": name, "messages": []}),
            ),
            (
                Method::POST,
                "/api/push",
                json!({"model": name, "stream": false}),
            ),
            (
                Method::POST,
                "/api/pull",
                json!({"model": name, "stream": false, "insecure": true}),
            ),
        ] {
            let body = body.to_string().into_bytes();
            let answer = server.request(method, path, body).await;
            // A push checks the name after its answer has begun, as in Ollama.
            let is_refused = (400..=404).contains(&answer.status);
            assert!(
                is_refused || path == "/api/push" && answer.status == 500,
                "{path} {name:?}: {answer:?}"
            );
            assert_ne!(answer.error(), "", "{path} {name:?}: {answer:?}");
        }
    }
    assert_eq!(tree(server.root()), before);

    let drover = Drover::of(&server);
    fs_err::write(drover.folder().join("Modelfile"), "FROM tiny").unwrap();
    // A zero byte cannot be typed, and `-a` is a flag.
    let typed = BAD_NAMES
        .iter()
        .filter(|name| !name.contains('\0') && !name.starts_with('-'));
    for name in typed {
        for args in [
            &["create", name][..],
            &["cp", "tiny", name],
            &["rm", name],
            &["show", name],
        ] {
            let said = drover.run(args).await.failed();
            // Before `rm` removes a model it stops it, which fails here, too.
            let error = match said.split_once("Error: ") {
                Some(("", error)) => error,
                Some((warning, error)) if args[0] == "rm" && warning.starts_with("Warning: ") => {
                    error
                }
                _ => panic!("{args:?}: {said}"),
            };
            let n_lines = error.trim_end().lines().count();
            assert!(n_lines <= name.lines().count(), "{said}");
        }
    }
    assert_eq!(tree(server.root()), before);
}

#[tokio::test]
async fn digests_that_are_none_are_refused() {
    let server = TestServer::start().await;
    let before = tree(server.root());
    for digest in [
        "sha256:..%2F..%2Fx",
        "..%2F..%2Fetc%2Fpasswd",
        "sha256:ab",
        "sha256-..%2F",
        "md5:00000000000000000000000000000000",
        "sha256:zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
    ] {
        let path = format!("/api/blobs/{digest}");
        for method in [Method::POST, Method::HEAD] {
            let answer = server.request(method, &path, b"x".to_vec()).await;
            assert!((400..=404).contains(&answer.status), "{path}: {answer:?}");
        }
    }
    let digest = "sha256:../../../etc/passwd";
    for field in ["files", "adapters", "draft_files"] {
        let mut body = json!({"model": "m", "from": "tiny", "stream": false});
        body[field] = json!({"a.gguf": digest});
        let answer = server.post("/api/create", &body).await;
        assert_eq!(answer.status, 400, "{field}: {answer:?}");
    }
    assert_eq!(tree(server.root()), before);
}

#[tokio::test]
async fn manifests_of_other_things_do_not_become_models() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let library = server.store().join("manifests/registry.ollama.ai/library");
    let good = fs_err::read_to_string(library.join("tiny/latest")).unwrap();
    let write = |name: &str, manifest: &str| {
        fs_err::create_dir_all(library.join(name)).unwrap();
        fs_err::write(library.join(name).join("latest"), manifest).unwrap();
    };
    let good: Value = serde_json::from_str(&good).unwrap();
    let mut foreign = good.clone();
    for layer in foreign["layers"].as_array_mut().unwrap() {
        layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip".into();
    }
    write("foreign", &foreign.to_string());
    let mut leaving = good.clone();
    leaving["layers"][0]["digest"] = "sha256:../../../../etc/passwd".into();
    write("leaving", &leaving.to_string());
    write("deep", &"[".repeat(100_000));
    write(
        "huge",
        &format!("{{\"layers\": \"{}\"}}", "x".repeat(8 << 20)),
    );
    write("empty", "");
    for name in ["foreign", "leaving", "deep", "huge", "empty"] {
        let request = json!({"model": name, "prompt": "x", "stream": false});
        let answer = server.post("/api/generate", &request).await;
        assert!((400..=500).contains(&answer.status), "{name}: {answer:?}");
        assert_ne!(answer.error(), "", "{name}");
        assert!(!answer.text.contains("root:"), "{name}: {answer:?}");
    }
    // The other models still work.
    let names = server.get("/api/tags").await.ok().text;
    assert!(names.contains("tiny:latest"), "{names}");
    server
        .post("/api/generate", &json!({"model": "tiny", "prompt": "x"}))
        .await
        .ok();
    // A broken manifest can be removed by its name.
    let drover = Drover::of(&server);
    drover.run(&["rm", "foreign"]).await.ok();
}

#[tokio::test]
async fn deep_and_huge_json_is_refused() {
    let server = TestServer::start().await;
    server
        .create("tiny", models::fake().build(), json!({}))
        .await
        .ok();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for path in [
        "/api/chat",
        "/api/generate",
        "/api/create",
        "/api/show",
        "/v1/chat/completions",
    ] {
        for body in [
            deep.clone(),
            format!("{{\"model\": \"tiny\", \"options\": {deep}}}"),
            format!("{{\"model\": \"tiny\", \"format\": {deep}, \"messages\": []}}"),
            format!("{{\"model\": {}1}}", "{\"a\":".repeat(100_000)),
        ] {
            let answer = server.request(Method::POST, path, body.into_bytes()).await;
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
            assert!(answer.text.len() < 1000, "{path}: {}", answer.text.len());
        }
    }
    server.get("/api/version").await.ok();
}

/// Every path below a folder, except the daemon's own state.
fn tree(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // The daemon writes its own state at any time.
        if path.ends_with("state") {
            continue;
        }
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}
