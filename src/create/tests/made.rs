//! Models made of files, models and texts.

use serde_json::json;

use super::*;

#[test]
fn a_file_becomes_a_model_as_ollama_writes_it() {
    let mut bench = Bench::new();
    let request = CreateRequest {
        template: "{{ .Prompt }}".to_owned(),
        system: "Be brief.".to_owned(),
        licenses: vec!["MIT".to_owned(), "and more".to_owned()],
        parameters: object(json!({"temperature": 0.6, "stop": ["<|im_end|>"], "num_ctx": 4096})),
        messages: vec![
            Message::text("user", "hi"),
            Message::text("assistant", "hello"),
        ],
        renderer: "qwen3-coder".to_owned(),
        parser: "qwen3-coder".to_owned(),
        requires: "0.14.0".to_owned(),
        ..from_file(&bench)
    };
    bench.create("team/Mine", &request).unwrap();

    let model = bench.model("team/mine");
    assert_eq!(model.name.short(), "team/Mine:latest");
    assert_eq!(
        bench.kinds("team/mine"),
        [
            "model", "template", "system", "license", "license", "params", "messages"
        ]
    );
    let layers = &model.manifest.layers;
    assert_eq!(
        layers[0].digest,
        Digest::of(&weights()).to_string(),
        "the bytes are kept"
    );
    assert_eq!(layers[0].from, "");
    assert_eq!(
        bench.read(&layers[5].digest),
        "{\"num_ctx\":4096,\"stop\":[\"\\u003c|im_end|\\u003e\"],\"temperature\":0.6}\n"
    );
    assert_eq!(
        bench.read(&layers[6].digest),
        "[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"hello\"}]\n"
    );
    assert_eq!(
        bench.read(&model.manifest.config.digest),
        "{\"model_format\":\"gguf\",\"model_family\":\"llama\",\"model_families\":[\"llama\"],\
         \"model_type\":\"288\",\"file_type\":\"Q8_0\",\"renderer\":\"qwen3-coder\",\
         \"parser\":\"qwen3-coder\",\"requires\":\"0.14.0\",\"architecture\":\"amd64\",\"os\":\"linux\"}\n"
    );
    assert_eq!(model.system.as_deref(), Some("Be brief."));
    assert_eq!(model.licenses, ["MIT", "and more"]);

    let (first, rest) = bench.statuses.split_first().unwrap();
    assert_eq!(first, "parsing GGUF");
    let lines: Vec<String> = layers
        .iter()
        .enumerate()
        .map(|(index, layer)| {
            let what = if index == 0 {
                "using existing"
            } else {
                "creating new"
            };
            format!("{what} layer {}", layer.digest)
        })
        .chain(["writing manifest".to_owned(), "success".to_owned()])
        .collect();
    assert_eq!(rest, lines);
}

#[test]
fn the_same_request_gives_the_same_digest() {
    let digest = || {
        let mut bench = Bench::new();
        let request = CreateRequest {
            parameters: object(json!({"top_k": 3, "seed": 1, "stop": ["b", "a"]})),
            ..from_file(&bench)
        };
        bench.create("a", &request).unwrap();
        let first = bench.model("a").digest;
        bench.create("a", &request).unwrap();
        assert_eq!(bench.model("a").digest, first);
        first
    };
    assert_eq!(digest(), digest());
}

#[test]
fn a_model_is_made_of_another_one() {
    let mut bench = Bench::new();
    let base = CreateRequest {
        template: "old".to_owned(),
        system: "old".to_owned(),
        licenses: vec!["MIT".to_owned()],
        parameters: object(json!({"top_k": 3, "stop": ["x", "y"]})),
        parser: "qwen3".to_owned(),
        ..from_file(&bench)
    };
    bench.create("base", &base).unwrap();
    let request = CreateRequest {
        system: "new".to_owned(),
        licenses: vec!["more".to_owned()],
        parameters: object(json!({"seed": 1, "stop": ["z"]})),
        ..from_model("BASE")
    };
    bench.create("derived", &request).unwrap();

    let model = bench.model("derived");
    assert_eq!(
        bench.kinds("derived"),
        [
            "model", "template", "license", "system", "license", "params"
        ]
    );
    let froms: Vec<&str> = model
        .manifest
        .layers
        .iter()
        .map(|layer| layer.from.as_str())
        .collect();
    assert_eq!(
        froms,
        ["base:latest", "base:latest", "base:latest", "", "", ""]
    );
    assert_eq!(
        Value::Object(model.params),
        json!({"seed": 1, "stop": ["z"], "top_k": 3})
    );
    assert_eq!(
        (model.system.as_deref(), model.template.as_deref()),
        (Some("new"), Some("old"))
    );
    assert_eq!(model.licenses, ["MIT", "more"]);
    assert_eq!(
        (
            model.config.parser.as_str(),
            model.config.file_type.as_str()
        ),
        ("qwen3", "Q8_0")
    );
    assert!(!bench.statuses.iter().any(|status| status == "parsing GGUF"));
}

#[test]
fn files_find_their_places() {
    let mut bench = Bench::new();
    let request = CreateRequest {
        files: bench.files(&[
            ("a/mmproj.gguf", &projector()),
            ("model.gguf", &weights()),
            ("config.json", b"{}"),
        ]),
        adapters: bench.files(&[("lora.gguf", &adapter())]),
        draft_files: bench.files(&[("small.gguf", &weights())]),
        ..CreateRequest::default()
    };
    bench.create("m", &request).unwrap();
    assert_eq!(bench.kinds("m"), ["projector", "model", "adapter", "draft"]);
    let model = bench.model("m");
    assert_eq!(model.manifest.layers[0].from, "a/mmproj.gguf");
    assert_eq!(model.config.model_families, Some(vec!["llama".to_owned()]));
    assert_eq!((model.projectors.len(), model.adapters.len()), (1, 1));
}

#[test]
fn a_file_without_a_telling_name_is_recognised() {
    let mut bench = Bench::new();
    let request = CreateRequest {
        files: bench.files(&[("weights.bin", &weights())]),
        ..CreateRequest::default()
    };
    bench.create("m", &request).unwrap();
    assert_eq!(bench.kinds("m"), ["model"]);
}

#[test]
fn info_overrides_what_the_file_says() {
    let mut bench = Bench::new();
    let request = CreateRequest {
        info: object(json!({
            "capabilities": ["tools"], "model_family": "mine", "parameter_size": "8B",
            "context_length": 4096.0, "embedding_length": 12, "base_name": "b",
        })),
        ..from_file(&bench)
    };
    bench.create("m", &request).unwrap();
    let config = bench.model("m").config;
    assert_eq!(config.capabilities, ["tools"]);
    assert_eq!(
        (config.model_family.as_str(), config.model_type.as_str()),
        ("mine", "8B")
    );
    assert_eq!(
        (config.context_length, config.embedding_length),
        (Some(4096), Some(12))
    );
    assert_eq!(
        (config.base_name.as_str(), config.file_type.as_str()),
        ("b", "Q8_0")
    );
}

#[test]
fn architectures_with_built_in_code_get_it() {
    let mut bench = Bench::new();
    let request = CreateRequest {
        files: bench.files(&[("m.gguf", &GgufBuilder::model("gemma4").build())]),
        ..CreateRequest::default()
    };
    bench.create("g", &request).unwrap();
    let model = bench.model("g");
    assert_eq!(
        (model.config.renderer.as_str(), model.config.parser.as_str()),
        ("gemma4", "gemma4")
    );
    assert_eq!(Value::Object(model.params), json!({"stop": ["<turn|>"]}));
}

#[test]
fn a_replaced_model_leaves_no_blobs_that_nobody_uses() {
    let mut bench = Bench::new();
    let base = CreateRequest {
        system: "kept by the base".to_owned(),
        ..from_file(&bench)
    };
    bench.create("base", &base).unwrap();
    let first = CreateRequest {
        system: "first".to_owned(),
        ..from_model("base")
    };
    bench.create("m", &first).unwrap();
    let old = bench.model("m").manifest;
    let second = CreateRequest {
        system: "second".to_owned(),
        ..from_model("base")
    };
    bench.create("m", &second).unwrap();
    let has = |digest: &str| bench.store.has_blob(&digest.parse().unwrap());
    let system = old.layers.last().unwrap();
    assert!(!has(&system.digest), "the replaced text is gone");
    assert!(has(&old.layers[0].digest), "the shared weights are not");
    assert_eq!(
        bench.model("base").system.as_deref(),
        Some("kept by the base")
    );
}

/// A pruner that considers every file old runs at every step.
#[test]
fn pruning_beside_cannot_take_blobs_in_use() {
    let bench = Bench::new();
    let request = CreateRequest {
        system: "text".to_owned(),
        ..from_file(&bench)
    };
    let orphan = bench.upload(b"orphan");
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(2);
    let mut pruned = 0;
    create(
        &bench.store,
        &parse("m"),
        &request,
        &requantized,
        &mut |_| {
            pruned += bench.store.prune(later).unwrap();
        },
    )
    .unwrap();
    assert_eq!(pruned, 1, "the orphan only");
    assert!(!bench.store.has_blob(&orphan.parse().unwrap()));
    assert_eq!(bench.model("m").system.as_deref(), Some("text"));
}
