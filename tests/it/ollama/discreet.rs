//! What neither clients nor the log must reveal: where things are, and secrets.

use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn errors_name_files_and_not_folders() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let blobs = fs_err::read_dir(server.store().join("blobs")).unwrap();
    let largest = blobs
        .map(|file| file.unwrap())
        .max_by_key(|file| file.metadata().unwrap().len())
        .unwrap();
    fs_err::write(largest.path(), "GGUF, but no more").unwrap();
    let root = server.root().display().to_string();
    let chat = json!({"model": "tiny", "messages": [{"role": "user", "content": "x"}]});
    let text = json!({"model": "tiny", "prompt": "x", "input": "x"});
    let ask = async |n_failed: &mut usize| {
        for (route, body) in [
            ("/api/chat", &chat),
            ("/api/generate", &text),
            ("/api/embed", &text),
            ("/api/embeddings", &text),
            ("/api/show", &json!({"model": "tiny", "verbose": true})),
            (
                "/api/create",
                &json!({"model": "b", "from": "tiny", "quantize": "q4_0"}),
            ),
            ("/api/copy", &json!({"source": "tiny", "destination": "c"})),
            ("/v1/chat/completions", &chat),
            ("/v1/completions", &text),
            ("/v1/embeddings", &text),
        ] {
            let answer = server.post(route, body).await;
            // What Ollama shows of a model is a Modelfile that names its file.
            let is_shown = route == "/api/show" && answer.status == 200;
            assert!(
                is_shown || !answer.text.contains(&root),
                "{route}: {answer:?}"
            );
            *n_failed += usize::from(answer.status >= 500);
        }
    };
    let mut n_failed = 0;
    ask(&mut n_failed).await;
    assert!(n_failed >= 4, "{n_failed} failures of ours");
    // A folder in place of a file.
    fs_err::remove_file(largest.path()).unwrap();
    fs_err::create_dir(largest.path()).unwrap();
    ask(&mut n_failed).await;
    // A broken manifest.
    let manifest = server
        .store()
        .join("manifests/registry.ollama.ai/library/tiny/latest");
    fs_err::write(&manifest, "{").unwrap();
    ask(&mut n_failed).await;
    // The log may name folders: it is for the owner of the machine.
    assert!(server.log.text().contains(&root));
}

#[tokio::test]
async fn passwords_of_mirrors_and_proxies_are_not_told() {
    let server = TestServer::builder()
        .env(
            "DROVER_REGISTRY_MIRRORS",
            "http://me:topsecret@127.0.0.1:1/m",
        )
        .env("HTTPS_PROXY", "http://me:topsecret@127.0.0.1:1")
        .env("OLLAMA_HOST", "http://me:topsecret@127.0.0.1:0")
        .env("OLLAMA_DEBUG", "2")
        .start()
        .await;
    let body = json!({"model": "nothing"});
    let pull = server.post("/api/pull", &body);
    let told = server.log.wait_for("the mirror", |line| {
        line.contains("a mirror does not have it").then_some(())
    });
    tokio::select! {
        answer = pull => assert!(!answer.text.contains("topsecret"), "{answer:?}"),
        () = told => {}
    }
    let log = server.log.text();
    assert!(log.contains("***@127.0.0.1:1/m"), "{log}");
    assert!(!log.contains("topsecret"), "{log}");
}

#[tokio::test]
async fn a_request_is_one_line_in_the_log() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let forged = "x\n2026-01-01T00:00:00Z  INFO forged: all is well\r\u{1b}[2J\u{9b}2J\u{202e}";
    let options = json!({(forged): 1});
    let body = json!({"model": "tiny", "prompt": forged, "options": options, "stream": false});
    server.post("/api/generate", &body).await.ok();
    server
        .post("/api/generate", &json!({"model": forged}))
        .await;
    server.create(forged, b"GGUF".to_vec(), json!({})).await;
    server
        .http
        .get(format!("{}/api/\u{9b}2J%1b%0aforged", server.url))
        .header("user-agent", "x\ty\u{9b}")
        .send()
        .await
        .unwrap();
    let log = server.log.text();
    for line in log.lines() {
        assert!(!line.starts_with("2026-01-01"), "{log}");
        assert!(
            !line.contains(|c: char| c != '\t' && c.is_control()),
            "{line:?}"
        );
    }
}
