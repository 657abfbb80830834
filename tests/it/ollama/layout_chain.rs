//! What is derived from a file in the layout of Ollama's former engine: models from it, adapters on it, quantized
//! copies of it; and the parts of its header that drover reads itself.

use std::io::Cursor;

use drover::model::gguf::Metadata;
use drover::model::gguf::builder::GgufBuilder;
use serde_json::{Value, json};

use super::layouts::{answer, file, projector, start};
use crate::ollama::images::real::png;
use crate::support::TestServer;

/// Bytes before a header's pairs: the magic, the version, the numbers of tensors and pairs.
const COUNTS: usize = 24;

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// The same file with another value of a key.
fn with(file: &[u8], key: &str, value: impl Into<Value>) -> Vec<u8> {
    let header = |file: &[u8]| {
        Metadata::read_with_layout(&mut Cursor::new(file))
            .unwrap()
            .1
    };
    let pair = GgufBuilder::default().value(key, value).build();
    let end = place(header(&pair).pairs[0].value.end);
    let pair = &pair[COUNTS..end];
    let layout = header(file);
    let old = layout.pairs.iter().find(|pair| *pair.key == *key);
    let old = old.map(|pair| {
        let before = key.len() + size_of::<u64>();
        place(pair.value.start) - before..place(pair.value.end)
    });
    let old = old.unwrap_or(COUNTS..COUNTS);
    let n_pairs = layout.pairs.len() as u64 + u64::from(old.is_empty());
    // The offset comes after the description.
    let end = place(layout.tensors.last().unwrap().description.end) + size_of::<u64>();
    let data = layout.tensors.iter().map(|tensor| tensor.data.start).min();
    let mut new = file[..COUNTS].to_vec();
    new[16..COUNTS].copy_from_slice(&n_pairs.to_le_bytes());
    new.extend(pair);
    new.extend(&file[COUNTS..old.start]);
    new.extend(&file[old.end..end]);
    new.resize(new.len().next_multiple_of(place(layout.alignment)), 0);
    new.extend(&file[place(data.unwrap())..]);
    new
}

/// The digest of the weights of a model without a namespace.
fn digest(server: &TestServer, model: &str) -> String {
    let path = format!("manifests/registry.ollama.ai/library/{model}/latest");
    let manifest = fs_err::read(server.store().join(path)).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let mut layers = manifest["layers"].as_array().unwrap().iter();
    let weights = layers.find(|layer| layer["mediaType"] == "application/vnd.ollama.image.model");
    weights.unwrap()["digest"].as_str().unwrap().to_owned()
}

/// A tensor's name, its type and its bytes.
type Tensor = (String, String, Vec<u8>);

fn tensors(file: &[u8]) -> Vec<Tensor> {
    let (metadata, layout) = Metadata::read_with_layout(&mut Cursor::new(file)).unwrap();
    let all = metadata.tensors.into_iter().zip(layout.tensors);
    let all = all.map(|(info, at)| {
        let data = &file[place(at.data.start)..place(at.data.end)];
        (info.name, info.kind.to_owned(), data.to_vec())
    });
    all.collect()
}

/// The tensors that only an image encoder needs.
fn encoder(file: &[u8]) -> Vec<Tensor> {
    let mut tensors = tensors(file);
    tensors.retain(|(name, ..)| ["v.", "mm."].iter().any(|start| name.starts_with(start)));
    tensors.sort();
    tensors
}

#[tokio::test]
async fn a_quantized_copy_keeps_its_encoder() {
    for name in ["gemma3", "mistral3", "qwen25vl"] {
        let Some(plain) = file(&format!("{name}-ollama")) else {
            return;
        };
        // It claims that its weights are in half precision.
        let plain = with(&plain, "general.file_type", 1);
        let server = TestServer::start().await;
        server.create("ollama", plain.clone(), json!({})).await.ok();
        let body = json!({"model": "small", "from": "ollama", "quantize": "q8_0", "stream": false});
        server.post("/api/create", &body).await.ok();
        let shown = server.post("/api/show", &json!({"model": "small"})).await;
        let shown = shown.ok().json();
        assert_eq!(shown["details"]["quantization_level"], "Q8_0");
        let capabilities = shown["capabilities"].to_string();
        assert!(capabilities.contains("vision"), "{shown}");

        let blob = digest(&server, "small").replace(':', "-");
        let small = fs_err::read(server.store().join("blobs").join(blob)).unwrap();
        assert!(!encoder(&plain).is_empty());
        assert!(encoder(&small) == encoder(&plain), "{name}");
        let small = tensors(&small);
        let query = small
            .iter()
            .find(|tensor| tensor.0 == "blk.0.attn_q.weight");
        assert_eq!(query.unwrap().1, "Q8_0", "{name}");

        answer(&server, "small", "a b", &[]).await;
        // (The tiny Qwen 2.5 VL has no room for the least tokens of an image.)
        if name != "qwen25vl" {
            let images = [png([250, 20, 10])];
            let seen = answer(&server, "small", "a [img-0] b", &images).await;
            let original = answer(&server, "ollama", "a [img-0] b", &images).await;
            assert_eq!(seen[2], original[2], "{name}");
        }
    }
}

#[tokio::test]
async fn models_from_it_have_its_weights_and_say_the_same() {
    for name in ["gemma3", "mistral3", "qwen25vl", "gptoss"] {
        let Some(server) = start(&format!("{name}-ollama"), &format!("{name}-upstream")).await
        else {
            return;
        };
        let body = json!({"model": "mine", "from": "ollama", "system": "Be brief.",
            "parameters": {"stop": ["never"]}, "stream": false});
        server.post("/api/create", &body).await.ok();
        let body = json!({"source": "mine", "destination": "copy"});
        server.post("/api/copy", &body).await.ok();
        let original = digest(&server, "ollama");
        let said = answer(&server, "ollama", "a b", &[]).await;
        let shown = async |model: &str| {
            let shown = server.post("/api/show", &json!({"model": model})).await;
            shown.ok().json()["capabilities"].clone()
        };
        for model in ["mine", "copy"] {
            assert_eq!(digest(&server, model), original, "{name}");
            assert_eq!(shown(model).await, shown("ollama").await, "{name}");
            // They share a runner, which has already computed most of the prompt.
            let again = answer(&server, model, "a b", &[]).await;
            assert_eq!([&again[0], &again[2]], [&said[0], &said[2]], "{name}");
        }
    }
}

/// A LoRA adapter with random numbers, as llama.cpp's converter writes them.
fn adapter(architecture: &str, tensor: &str, [from, to]: [u64; 2]) -> Vec<u8> {
    const RANK: u64 = 4;
    GgufBuilder::new(architecture)
        .value("general.type", "adapter")
        .value("adapter.type", "lora")
        .value("adapter.lora.alpha", 8.0)
        .tensor(&format!("{tensor}.lora_a"), "F32", &[from, RANK])
        .tensor(&format!("{tensor}.lora_b"), "F32", &[RANK, to])
        .noise(7)
        .build()
}

/// Adapters name tensors as llama.cpp does, some of which have other names in Ollama's files.
#[tokio::test]
async fn an_adapter_changes_the_same_in_either_layout() {
    for (name, architecture, tensor, shape) in [
        ("gptoss", "gpt-oss", "blk.1.attn_output.weight", [64, 64]),
        ("gemma3", "gemma3", "blk.0.ffn_down.weight", [64, 32]),
        ("gemma3-1b", "gemma3", "blk.0.attn_k.weight", [32, 16]),
        ("mistral3", "mistral3", "blk.1.attn_q.weight", [64, 64]),
        ("qwen25vl", "qwen2vl", "blk.0.attn_v.weight", [64, 32]),
    ] {
        let Some(server) = start(&format!("{name}-ollama"), &format!("{name}-upstream")).await
        else {
            return;
        };
        let lora = server.upload(adapter(architecture, tensor, shape)).await;
        let mut said = Vec::new();
        for from in ["ollama", "upstream"] {
            let model = format!("tuned-{from}");
            let adapters = json!({"lora.gguf": lora});
            let body = json!({"model": model, "from": from, "adapters": adapters, "stream": false});
            server.post("/api/create", &body).await.ok();
            said.push(answer(&server, &model, "a b", &[]).await);
        }
        assert!(said[0] == said[1], "{name}: {} {}", said[0][0], said[1][0]);
        let plain = answer(&server, "ollama", "a b", &[]).await;
        assert!(said[0] != plain, "{name}: the adapter makes no difference");
    }
}

/// Whether an answer that consists of this token ends at once.
async fn ends_at(server: &TestServer, token: u32) -> bool {
    let bias = json!({token.to_string(): 100});
    let body = json!({"model": "m", "prompt": "a b", "max_tokens": 3, "temperature": 0,
        "logit_bias": bias});
    let answer = server.post("/v1/completions", &body).await.ok().json();
    match answer["choices"][0]["finish_reason"].as_str() {
        Some("stop") => true,
        Some("length") => false,
        _ => panic!("{answer}"),
    }
}

/// Ollama writes all end tokens of a model's `generation_config.json` under a key that llama.cpp does not read.
#[tokio::test]
async fn every_token_of_ollamas_list_ends_an_answer() {
    const ENDS: &str = "tokenizer.ggml.eos_token_ids";
    // The list is of type I32 if one of its numbers is negative.
    let lists = [json!([1, 264, 266]), json!([-1, 264, 266])];
    for name in ["gemma3-ollama", "gemma3-upstream"] {
        for list in &lists {
            let Some(plain) = file(name) else { return };
            let server = TestServer::start().await;
            let file = with(&plain, ENDS, list.clone());
            server.create("m", file, json!({})).await.ok();
            for (token, is_end) in [(264, true), (266, true), (265, false), (1, true)] {
                assert_eq!(
                    ends_at(&server, token).await,
                    is_end,
                    "{name}: {list} {token}"
                );
            }
        }
    }
}

/// As in Ollama, files of this family get at least 1,024 tokens for an image of any size.
#[tokio::test]
async fn images_get_the_least_tokens_that_the_family_needs() {
    const CONTEXT: u64 = 4096;
    let server = TestServer::start().await;
    let mut counts = Vec::new();
    for (name, architecture) in [("ollama", "qwen25vl"), ("upstream", "qwen2vl")] {
        let Some(plain) = file(&format!("qwen25vl-{name}")) else {
            return;
        };
        let key = format!("{architecture}.context_length");
        let mut files = json!({"model.gguf": server.upload(with(&plain, &key, CONTEXT)).await});
        if name == "upstream" {
            let projector = projector("qwen25vl-upstream").unwrap();
            files["mmproj.gguf"] = server.upload(projector).await.into();
        }
        let body = json!({"model": name, "files": files, "stream": false});
        server.post("/api/create", &body).await.ok();
        let options = json!({"temperature": 0, "num_predict": 2, "num_ctx": CONTEXT});
        let body = json!({"model": name, "prompt": "a [img-0] b", "raw": true, "stream": false,
            "images": [png([250, 20, 10])], "options": options});
        let answer = server.post("/api/generate", &body).await.ok().json();
        counts.push(answer["prompt_eval_count"].as_u64().unwrap());
    }
    assert!((1024..1200).contains(&counts[0]), "{counts:?}");
    assert_eq!(counts[0], counts[1]);
}
