//! Blobs that are not what they should be: duplicate tokens, links, FIFOs.

use drover::model::Digest;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use crate::support::{Drover, TestServer, models};

/// A server with a model `m`, and the path of its weights.
async fn with_model() -> (TestServer, std::path::PathBuf) {
    let server = TestServer::start().await;
    server.fake_model("m").await;
    let digest = Digest::of(&models::fake().build());
    let weights = server.store().join("blobs").join(digest.file_name());
    assert!(weights.is_file());
    (server, weights)
}

fn hello() -> serde_json::Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": false})
}

/// As a pull or Ollama may have left it: `create` would have refused it.
#[tokio::test]
async fn a_vocabulary_over_which_llama_cpp_ends_is_refused_before_a_load() {
    let (server, weights) = with_model().await;
    for (tokens, doubled) in [
        (vec!["a", "b", "a"], "\"a\""),
        (vec!["", "", "[EMPTY_1]"], "\"[EMPTY_1]\""),
        (vec!["a\0b", "a\0c"], "\"a\""),
    ] {
        let file = models::fake().value("tokenizer.ggml.tokens", tokens);
        fs_err::write(&weights, file.build()).unwrap();
        // Asked twice: the second time from memory.
        for _ in 0..2 {
            let answer = server.post("/api/chat", &hello()).await;
            let error = answer.error();
            let reason = format!("token {doubled} is in the vocabulary twice");
            assert!(answer.status == 500 && error.contains(&reason), "{error}");
        }
    }
    let file = models::fake().value("tokenizer.ggml.tokens", vec!["", "", "a"]);
    fs_err::write(&weights, file.build()).unwrap();
    let answer = server.post("/api/chat", &hello()).await.ok().json();
    assert_eq!(answer["message"]["content"], "hi");
}

#[tokio::test]
async fn blobs_may_be_links_to_files_elsewhere() {
    let (server, weights) = with_model().await;
    let elsewhere = server.root().join("elsewhere.gguf");
    fs_err::rename(&weights, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &weights).unwrap();
    let answer = server.post("/api/chat", &hello()).await.ok().json();
    assert_eq!(answer["message"]["content"], "hi");
    let listed = server.get("/api/tags").await.ok().json();
    assert_eq!(listed["models"][0]["details"]["family"], "drover-fake");
    let derived = json!({"model": "derived", "from": "m", "system": "S", "stream": false});
    server.post("/api/create", &derived).await.ok();
    // The link's target does not belong to the store.
    let drover = Drover::of(&server);
    drover.run(&["rm", "m", "derived"]).await.ok();
    assert!(!weights.is_symlink() && elsewhere.is_file());
}

#[tokio::test]
async fn nobody_waits_for_a_fifo_in_the_place_of_a_blob() {
    let (server, weights) = with_model().await;
    fs_err::remove_file(&weights).unwrap();
    mknodat(CWD, &weights, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let refused = server.post("/api/chat", &hello()).await;
    let error = refused.error();
    assert!(
        refused.status == 500 && error.contains("no regular file"),
        "{error}"
    );
    server.get("/api/tags").await.ok();
    server.post("/api/show", &json!({"model": "m"})).await.ok();
    let derived = json!({"model": "derived", "from": "m", "stream": false});
    let refused = server.post("/api/create", &derived).await;
    assert!(refused.status >= 400, "{}", refused.text);
    // Uploading the same bytes again replaces it.
    server.fake_model("m").await;
    let answer = server.post("/api/chat", &hello()).await.ok().json();
    assert_eq!(answer["message"]["content"], "hi");
}
