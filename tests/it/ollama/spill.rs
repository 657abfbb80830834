//! Prompts that lost their cells in the KV cache: they are restored without being computed again.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::metrics::value;
use crate::support::TestServer;

/// Asks for a long text; the answer is `word`.
async fn ask(server: &TestServer, word: &str) {
    let prompt = format!("{}[[say {word}]]", format!("{word} and so on. ").repeat(20));
    let body = json!({"model": "tiny", "prompt": prompt, "stream": false});
    let answer = server.post("/api/generate", &body).await.ok().json();
    assert_eq!(answer["response"], word);
}

async fn count(server: &TestServer, name: &str) -> f64 {
    let line = format!(r#"drover_cache_{name}_total{{model="tiny:latest"}}"#);
    value(server, &line).await
}

#[tokio::test]
async fn conversations_take_turns_in_one_slot() {
    for (setting, n_restored) in [("auto", 2.0), ("1MiB", 2.0), ("0", 0.0)] {
        let server = TestServer::builder()
            .env("OLLAMA_NUM_PARALLEL", "1")
            .env("DROVER_SPILL_MEMORY", setting)
            .start()
            .await;
        server.fake_model("tiny").await;
        for word in ["first", "other", "first", "other"] {
            ask(&server, word).await;
        }
        assert_eq!(count(&server, "restored").await, n_restored, "{setting}");
    }
}

#[tokio::test]
async fn a_prompt_outlives_its_runner_and_the_daemon() {
    let start = || TestServer::builder().env("DROVER_SPILL_DISK", "100MB");
    let server = start().start().await;
    server.fake_model("tiny").await;
    ask(&server, "first").await;
    let unload = json!({"model": "tiny", "keep_alive": 0, "stream": false});
    server.post("/api/generate", &unload).await.ok();
    server.no_runners().await;
    let folder = server.root().join("state/prompts");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = fs_err::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1);
    assert_eq!(mode(&files[0]), 0o600);
    ask(&server, "first").await;
    assert_eq!(count(&server, "restored").await, 1.0);

    ask(&server, "other").await;
    let server = start().root(server.stopped().await).start().await;
    for word in ["other", "first"] {
        ask(&server, word).await;
    }
    assert_eq!(count(&server, "restored").await, 2.0);
}
