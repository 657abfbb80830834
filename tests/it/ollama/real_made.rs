//! Real models that are derived: quantized, or merged from parts.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;

use drover::model::gguf::Metadata;
use drover::model::gguf::splitter::split;
use drover::protocol::{QuantizeParams, TensorType};
use drover::view::ModelFile;
use serde_json::{Value, json};

use super::real::question;
use crate::support::real::{real, skip};
use crate::support::{TestServer, models};

fn smollm2() -> Option<PathBuf> {
    let path = real("smollm2-135m");
    if path.is_none() {
        skip("no smollm2-135m in DROVER_TEST_MODELS");
    }
    path
}

/// The file, quantized by the program's own quantizer.
async fn quantized(source: PathBuf, file_type: u32, tensor_types: Vec<TensorType>) -> Vec<u8> {
    let folder = tempfile::TempDir::new().unwrap();
    let target = folder.path().join("new.gguf");
    let params = QuantizeParams {
        source: ModelFile::original(source),
        target: target.clone(),
        file_type,
        tensor_types,
    };
    let tasks = tokio_util::task::TaskTracker::new();
    let exe = crate::support::BINARY.into();
    drover::runner_client::quantize(exe, params, &tasks, &mut |_| {})
        .await
        .unwrap();
    fs_err::read(target).unwrap()
}

#[tokio::test]
async fn a_quantized_copy_answers_and_comes_out_the_same_twice() {
    let Some(path) = smollm2() else {
        return;
    };
    // From an existing file to one of higher precision.
    let file = quantized(path, 1, Vec::new()).await;
    let server = TestServer::start().await;
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
    let Some(path) = smollm2() else {
        return;
    };
    let wanted = [("token_embd.weight", 1), ("blk.1.attn_q.weight", 8)];
    let wanted = wanted.map(|(name, code)| TensorType {
        name: name.to_owned(),
        code,
    });
    let file = quantized(path, 15, wanted.into()).await;
    let header = Metadata::read(&mut Cursor::new(file)).unwrap();
    let kind = |name: &str| header.tensor(name).unwrap().kind;
    assert_eq!(kind("token_embd.weight"), "F16");
    assert_eq!(kind("blk.1.attn_q.weight"), "Q8_0");
    // Not tensors whose names only look alike.
    assert_ne!(kind("blk.11.attn_q.weight"), "Q8_0");
    assert_ne!(kind("blk.1.attn_k.weight"), "Q8_0");
}

#[tokio::test]
async fn a_model_of_parts_is_the_whole_one_and_answers() {
    let Some(path) = smollm2() else {
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
