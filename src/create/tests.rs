//! Models made of uploaded files and of other models, in a store of its own.

use serde_json::json;

use super::*;
use crate::model::gguf::builder::GgufBuilder;

/// A store in a folder of its own, with what was reported.
struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    statuses: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        Self {
            folder,
            store,
            statuses: Vec::new(),
        }
    }

    /// Uploads a file and returns its digest's text.
    fn upload(&self, content: &[u8]) -> String {
        self.store.write_layer("", content).unwrap().digest
    }

    fn files(&self, files: &[(&str, &[u8])]) -> BTreeMap<String, String> {
        files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), self.upload(content)))
            .collect()
    }

    fn create(&mut self, name: &str, request: &CreateRequest) -> Result<(), CreateError> {
        self.statuses.clear();
        let statuses = &mut self.statuses;
        create(
            &self.store,
            &parse(name),
            request,
            &requantized,
            &mut |status| {
                statuses.push(status.status);
            },
        )
    }

    fn model(&self, name: &str) -> crate::store::Model {
        self.store.model(&parse(name)).unwrap()
    }

    fn read(&self, digest: &str) -> String {
        let path = self.store.blob_path(&digest.parse().unwrap());
        fs_err::read_to_string(path).unwrap()
    }

    fn kinds(&self, name: &str) -> Vec<String> {
        let kind =
            |layer: &crate::model::Layer| layer.media_type.rsplit('.').next().unwrap().to_owned();
        self.model(name).manifest.layers.iter().map(kind).collect()
    }
}

fn parse(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

fn weights() -> Vec<u8> {
    GgufBuilder::model("llama").build()
}

fn projector() -> Vec<u8> {
    GgufBuilder::new("clip")
        .value("clip.has_vision_encoder", true)
        .value("clip.projector_type", "mlp")
        .build()
}

fn adapter() -> Vec<u8> {
    GgufBuilder::new("llama")
        .value("general.type", "adapter")
        .value("adapter.type", "lora")
        .build()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// A request with one model file, uploaded into the bench's store.
fn from_file(bench: &Bench) -> CreateRequest {
    CreateRequest {
        files: bench.files(&[("model.gguf", &weights())]),
        ..CreateRequest::default()
    }
}

fn from_model(name: &str) -> CreateRequest {
    CreateRequest {
        from: Some(name.to_owned()),
        ..CreateRequest::default()
    }
}

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
fn a_template_that_is_none_is_refused() {
    let mut bench = Bench::new();
    let request = CreateRequest {
        template: "{{ if .Prompt }}".to_owned(),
        ..from_file(&bench)
    };
    let error = bench.create("a", &request).unwrap_err();
    assert_eq!(
        (error.status, error.message.as_str()),
        (400, "template error: template: :1: unexpected EOF")
    );
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

/// A pruner that believes every file to be old runs at every step.
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

#[test]
fn damaged_files_are_named_with_the_reason() {
    let mut bench = Bench::new();
    let whole = weights();
    let doubled = GgufBuilder::model("llama")
        .value("tokenizer.ggml.tokens", json!(["a", "a"]))
        .build();
    let cases: [(&[u8], &str); 4] = [
        (
            &whole[..whole.len() - 64],
            "model.gguf: invalid GGUF file: tensor \"output_norm.weight\" offset+size",
        ),
        (&whole[..40], "model.gguf: invalid GGUF file: "),
        (b"GGML and more", "supplied file was not in GGUF format"),
        (
            &doubled,
            "model.gguf: invalid GGUF file: token \"a\" is in the vocabulary twice",
        ),
    ];
    for (content, text) in cases {
        let request = CreateRequest {
            files: bench.files(&[("model.gguf", content)]),
            ..CreateRequest::default()
        };
        let error = bench.create("m", &request).unwrap_err();
        assert_eq!(error.status, 400, "{error}");
        assert!(error.message.starts_with(text), "{error}");
        assert!(bench.store.list().unwrap().is_empty());
    }
}

/// Requests that must fail: status, and how the text begins.
fn check_refusals(bench: &mut Bench, cases: Vec<(CreateRequest, u16, &str)>) {
    for (request, status, text) in cases {
        let error = bench.create("m", &request).expect_err(text);
        assert_eq!(error.status, status, "{error}");
        assert!(error.message.starts_with(text), "{error}");
    }
    assert!(
        bench.store.list().unwrap().is_empty(),
        "no manifest is left behind"
    );
    let blobs = fs_err::read_dir(bench.folder.path().join("blobs")).unwrap();
    let strangers: Vec<_> = blobs
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.parse::<Digest>().is_err())
        .collect();
    assert_eq!(strangers, Vec::<String>::new(), "no scratch files either");
}

#[test]
fn sources_that_are_refused() {
    let mut bench = Bench::new();
    let files = |list: &[(&str, &[u8])]| CreateRequest {
        files: bench.files(list),
        ..CreateRequest::default()
    };
    let adapters = |list: &[(&str, &[u8])]| CreateRequest {
        adapters: bench.files(list),
        ..from_file(&bench)
    };
    let missing = CreateRequest {
        files: BTreeMap::from([("m.gguf".to_owned(), Digest::of(b"absent").to_string())]),
        ..CreateRequest::default()
    };
    let shard = GgufBuilder::model("llama").value("split.count", 3).build();
    let other = GgufBuilder::model("qwen2").build();
    let (lora, model) = (adapter(), weights());
    let cases = vec![
        (
            CreateRequest::default(),
            400,
            "neither 'from' or 'files' was specified",
        ),
        (from_model("a//b"), 400, "invalid model name"),
        (
            from_model("absent"),
            404,
            "model 'absent:latest' not found, try pulling it first",
        ),
        (
            from_model("gpt-oss:20b-cloud"),
            403,
            "ollama cloud is disabled",
        ),
        (missing, 500, "blob \"sha256:"),
        (files(&[("notes.txt", b"hello")]), 400, "unknown type"),
        (
            files(&[("model.safetensors", b"x"), ("config.json", b"{}")]),
            400,
            "importing safetensors is not supported",
        ),
        (
            files(&[("mmproj.gguf", &projector())]),
            400,
            "no base model was found",
        ),
        (
            files(&[("a.gguf", &model), ("b.gguf", &other)]),
            400,
            "b.gguf: there is another model file",
        ),
        (
            files(&[("a-00001-of-00003.gguf", &shard)]),
            400,
            "a-00001-of-00003.gguf: one of 3 parts",
        ),
        (
            adapters(&[("a.gguf", &lora), ("b.gguf", &lora)]),
            400,
            "only one adapter is currently supported",
        ),
        (
            adapters(&[("a.gguf", &model)]),
            400,
            "a.gguf: not a LoRA adapter",
        ),
    ];
    check_refusals(&mut bench, cases);
}

#[test]
fn details_that_are_refused() {
    let mut bench = Bench::new();
    let quantized = |file_type: u64, quantize: &str| {
        let file = GgufBuilder::model("llama").value("general.file_type", file_type);
        CreateRequest {
            files: bench.files(&[("m.gguf", &file.build())]),
            quantize: quantize.to_owned(),
            ..CreateRequest::default()
        }
    };
    let parameters = |value: Value| CreateRequest {
        parameters: object(value),
        ..from_file(&bench)
    };
    let info = |value: Value| CreateRequest {
        info: object(value),
        ..from_file(&bench)
    };
    let cases = vec![
        (
            quantized(7, "q5_1"),
            500,
            "unsupported quantization type Q5_1 - supported types are",
        ),
        (
            quantized(7, "q4_K_M"),
            500,
            "quantization is only supported for F16, BF16 and F32 models",
        ),
        (
            parameters(json!({"num_ctx": "big"})),
            400,
            "option \"num_ctx\" must be of type integer",
        ),
        (
            info(json!({"base_name": 1})),
            400,
            "info field \"base_name\" must be a string",
        ),
        (
            info(json!({"context_length": "1"})),
            400,
            "info field \"context_length\" must be a number",
        ),
        (
            info(json!({"context_length": -1})),
            400,
            "info field \"context_length\" must be a non-negative integer",
        ),
    ];
    check_refusals(&mut bench, cases);
}

/// Stands for llama.cpp's quantizer: a small file of the wanted type.
fn requantized(job: quantize::Job, progress: &mut (dyn FnMut(f32) + Send)) -> Result<(), String> {
    progress(0.5);
    let file = GgufBuilder::model("llama").value("general.file_type", job.file_type);
    fs_err::write(job.target, file.build()).map_err(|error| error.to_string())
}

#[test]
fn weights_are_quantized_once_and_their_config_says_so() {
    let mut bench = Bench::new();
    let file = GgufBuilder::model("llama").value("general.file_type", 1_u32);
    let request = CreateRequest {
        files: bench.files(&[("m.gguf", &file.build())]),
        quantize: "q4_k".to_owned(),
        ..CreateRequest::default()
    };
    bench.create("m", &request).unwrap();
    let model = bench.model("m");
    assert_eq!(model.config.file_type, "Q4_K_M");
    let quantizing = "quantizing F16 model to Q4_K_M".to_owned();
    assert!(bench.statuses.contains(&quantizing), "{:?}", bench.statuses);
    assert!(bench.statuses.contains(&"verifying conversion".to_owned()));
    // The same again gives the same.
    let before = model.digest.clone();
    bench.create("m", &request).unwrap();
    assert_eq!(bench.model("m").digest, before);
}

#[test]
fn a_quantizer_that_fails_leaves_nothing() {
    let bench = Bench::new();
    let file = GgufBuilder::model("llama").value("general.file_type", 1_u32);
    let request = CreateRequest {
        files: bench.files(&[("m.gguf", &file.build())]),
        quantize: "q8_0".to_owned(),
        ..CreateRequest::default()
    };
    let fails = |_: quantize::Job, _: &mut (dyn FnMut(f32) + Send)| Err("boom".to_owned());
    let error = create(&bench.store, &parse("m"), &request, &fails, &mut |_| {});
    assert_eq!(error.unwrap_err().message, "boom");
    assert!(bench.store.list().unwrap().is_empty());
    let blobs = fs_err::read_dir(bench.store.root().join("blobs")).unwrap();
    assert_eq!(blobs.count(), 1, "the upload only");
}

#[test]
fn the_wanted_quantization_may_be_there_already() {
    let mut bench = Bench::new();
    let request = CreateRequest {
        quantize: "q8_0".to_owned(),
        ..from_file(&bench)
    };
    bench.create("m", &request).unwrap();
    assert_eq!(bench.model("m").config.file_type, "Q8_0");
}

#[test]
fn paths_and_digests_are_checked_before_the_stream() {
    let digest = Digest::of(b"").to_string();
    let check = |path: &str, digest: &str| {
        let files = BTreeMap::from([(path.to_owned(), digest.to_owned())]);
        validate(&CreateRequest {
            files,
            ..CreateRequest::default()
        })
        .map_err(|error| (error.status, error.message))
    };
    assert_eq!(check("a/b.gguf", &digest), Ok(()));
    for path in ["", "/a", "a/", "../a", "a/./b", "a//b", "."] {
        let refusal = Err((400, "file path must be relative".to_owned()));
        assert_eq!(check(path, &digest), refusal, "{path:?}");
    }
    let refusal = Err((400, "invalid digest format".to_owned()));
    assert_eq!(check("a", ""), refusal);
    assert_eq!(check("a", "sha256:12"), refusal);
}
