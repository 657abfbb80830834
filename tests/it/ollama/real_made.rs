//! Real models that are made: quantized, merged from parts.

use std::collections::BTreeMap;

use drover::model::gguf::Metadata;
use drover::model::gguf::splitter::split;
use serde_json::{Value, json};

use super::real::question;
use crate::support::real::{real, skip};
use crate::support::{TestServer, models};

#[tokio::test]
async fn a_quantized_copy_answers_and_comes_out_the_same_twice() {
    let Some(path) = real("smollm2-135m") else {
        skip("no smollm2-135m in DROVER_TEST_MODELS");
        return;
    };
    // From what there is to a file of higher precision.
    let folder = tempfile::TempDir::new().unwrap();
    let params = drover::protocol::QuantizeParams {
        source: path,
        target: folder.path().join("f16.gguf"),
        file_type: 1,
        tensor_types: Vec::new(),
    };
    let tasks = tokio_util::task::TaskTracker::new();
    let target = params.target.clone();
    let exe = crate::support::BINARY.into();
    drover::runner::quantize(exe, params, &tasks, &mut |_| {})
        .await
        .unwrap();
    let server = TestServer::start().await;
    let file = fs_err::read(target).unwrap();
    let size = file.len() as u64;
    server.create("precise", file, json!({})).await.ok();
    let quantize = |name: &str| json!({"model": name, "from": "precise", "quantize": "q8_0"});
    let steps = server.post("/api/create", &quantize("small")).await;
    let steps = steps.ok().lines();
    let parts = steps
        .iter()
        .filter(|step| step["status"] == "quantizing F16 model to Q8_0");
    let parts: Vec<u64> = parts
        .map(|step| step["completed"].as_u64().unwrap_or(0))
        .collect();
    assert!(parts.len() > 10 && parts.is_sorted(), "{parts:?}");
    assert_eq!(*parts.last().unwrap(), size);
    let digest = |tags: &Value, name: &str| {
        let models = tags["models"].as_array().unwrap().iter();
        let mut models = models.filter(|model| model["name"] == name);
        models.next().unwrap()["digest"].clone()
    };
    server.post("/api/create", &quantize("again")).await.ok();
    let tags = server.http.get(format!("{}/api/tags", server.url));
    let tags: Value = tags.send().await.unwrap().json().await.unwrap();
    assert_eq!(digest(&tags, "small:latest"), digest(&tags, "again:latest"));
    let shown = server
        .post("/api/show", &json!({"model": "small"}))
        .await
        .ok()
        .json();
    assert_eq!(shown["details"]["quantization_level"], "Q8_0");
    let mut body = question("small", "Name a colour.");
    body["stream"] = false.into();
    let answer = server.post("/api/chat", &body).await.ok().json();
    assert_ne!(answer["message"]["content"], "");
}

#[tokio::test]
async fn tensors_get_the_types_that_are_asked_for() {
    let Some(path) = real("smollm2-135m") else {
        skip("no smollm2-135m in DROVER_TEST_MODELS");
        return;
    };
    let folder = tempfile::TempDir::new().unwrap();
    let wanted = [("token_embd.weight", 1), ("blk.1.attn_q.weight", 8)];
    let wanted = wanted.map(|(name, code)| drover::protocol::TensorType {
        name: name.to_owned(),
        code,
    });
    let params = drover::protocol::QuantizeParams {
        source: path,
        target: folder.path().join("q4.gguf"),
        file_type: 15,
        tensor_types: wanted.into(),
    };
    let tasks = tokio_util::task::TaskTracker::new();
    let target = params.target.clone();
    let exe = crate::support::BINARY.into();
    drover::runner::quantize(exe, params, &tasks, &mut |_| {})
        .await
        .unwrap();
    let mut file = fs_err::File::open(target).unwrap();
    let header = Metadata::read_brief(&mut file).unwrap();
    let kind = |name: &str| header.tensor(name).unwrap().kind.clone();
    assert_eq!(kind("token_embd.weight"), "F16");
    assert_eq!(kind("blk.1.attn_q.weight"), "Q8_0");
    // Not those whose names only look alike.
    assert_ne!(kind("blk.11.attn_q.weight"), "Q8_0");
    assert_ne!(kind("blk.1.attn_k.weight"), "Q8_0");
}

#[tokio::test]
async fn a_model_of_parts_is_the_whole_one_and_answers() {
    let Some(path) = real("smollm2-135m") else {
        skip("no smollm2-135m in DROVER_TEST_MODELS");
        return;
    };
    let whole = fs_err::read(path).unwrap();
    let server = TestServer::start().await;
    let mut files = BTreeMap::new();
    for (index, part) in split(&whole, 3).into_iter().enumerate() {
        let name = format!("smollm2-0000{}-of-00003.gguf", index + 1);
        files.insert(name, server.upload(part).await);
    }
    let body = json!({"model": "merged", "files": files});
    let steps = server.post("/api/create", &body).await.ok().lines();
    let merging = steps.iter().filter(|step| {
        let status = step["status"].as_str().unwrap_or_default();
        status.starts_with("merging 3 parts")
    });
    let merging: Vec<u64> = merging
        .map(|step| step["completed"].as_u64().unwrap_or(0))
        .collect();
    assert!(merging.len() > 3 && merging.is_sorted(), "{merging:?}");
    assert_eq!(*merging.last().unwrap(), whole.len() as u64);
    let blob = models::digest(&whole).replace(':', "-");
    assert!(server.store().join("blobs").join(blob).is_file());
    let mut body = question("merged", "Which animal says meow?");
    body["stream"] = false.into();
    let answer = server.post("/api/chat", &body).await.ok().json();
    let text = answer["message"]["content"].as_str().unwrap();
    assert!(text.contains("cat"), "{text}");
}
