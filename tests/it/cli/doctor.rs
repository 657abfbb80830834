//! `doctor`: what this machine computes with. `doctor store`: problems of a model folder, and their repair.

use serde_json::Value;

use crate::support::{Drover, TestServer};

#[tokio::test]
async fn a_damaged_blob_is_found_told_and_removed() {
    let server = TestServer::start().await;
    server.fake_model("m").await;
    let drover = Drover::of(&server);
    let store = server.store();
    let folder = store.to_str().unwrap();
    let healthy = drover.run(&["doctor", "store", "--models", folder]).await;
    assert!(healthy.ok().ends_with("nothing is wrong\n"));

    let blobs = fs_err::read_dir(store.join("blobs")).unwrap();
    let blobs = blobs.map(|entry| entry.unwrap().path());
    let weights = blobs
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let mut content = fs_err::read(&weights).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs_err::write(&weights, content).unwrap();

    let json = ["doctor", "store", "--json", "--models", folder];
    let found = drover.run(&json).await;
    assert_eq!(found.code, Some(1), "{found:?}");
    let found: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(found["problems"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["problems"][0]["problem"], "wrong_content");
    assert_eq!(found["problems"][0]["models"][0], "m:latest");
    assert!(weights.exists(), "a check changes nothing");

    let repair = ["doctor", "store", "--repair", "--models", folder];
    let mended = drover.run(&repair).await;
    assert!(mended.stderr.contains("mended 1 of 1"), "{mended:?}");
    assert!(!weights.exists());
    let missing = drover.run(&json).await;
    let missing: Value = serde_json::from_str(&missing.stdout).unwrap();
    assert_eq!(missing["problems"][0]["problem"], "missing_blob");
}

#[tokio::test]
async fn what_is_no_folder_of_models_is_one_line() {
    let server = TestServer::start().await;
    let drover = Drover::of(&server);
    let error = drover
        .run(&["doctor", "store", "--models", "/nowhere"])
        .await;
    assert!(
        error
            .failed()
            .contains("there is no model directory at /nowhere")
    );
    let error = drover.run(&["doctor", "everything"]).await;
    assert!(error.failed().contains("unknown check \"everything\""));
}

#[tokio::test]
async fn the_instruction_sets_that_run_are_named() {
    let server = TestServer::start().await;
    let drover = Drover::of(&server);
    // It fails if no service is installed, which is not tested here.
    let found = drover.run(&["doctor", "--json"]).await;
    let found: Value = serde_json::from_str(&found.stdout).unwrap();
    let mut findings = found.as_array().unwrap().iter();
    let Some(cpu) = findings.find(|finding| finding["check"] == "cpu") else {
        if cfg!(feature = "llama") {
            panic!("nothing about the CPU in {found}");
        }
        return;
    };
    let text = cpu["text"].as_str().unwrap();
    assert!(text.starts_with("llama.cpp computes with"), "{text}");
    assert_eq!(cpu["level"] == "warning", text.contains("does not use"));
    // The daemon reports the same.
    let metrics = server.get("/metrics").await.ok().text;
    let used = text.split_once(';').map_or(text, |(used, _)| used);
    let used = used
        .split_once("computes with ")
        .map_or("", |(_, used)| used);
    let label = format!("drover_cpu_info{{used=\"{}\"", used.replace(", ", " "));
    assert!(metrics.contains(&label), "{metrics}");
}
