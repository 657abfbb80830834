//! Requests that fail and leave nothing behind.

use serde_json::json;

use super::*;

#[test]
fn a_template_that_is_none_is_refused() {
    let mut bench = Bench::new();
    let request = CreateRequest {
        template: "{{ if .Prompt }}".to_owned(),
        ..from_file(&bench)
    };
    let error = bench.create("a", &request).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (
            ErrorKind::Invalid,
            "template error: template: :1: unexpected EOF"
        )
    );
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
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        assert!(error.message.starts_with(text), "{error}");
        assert!(bench.store.list().unwrap().is_empty());
    }
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
    let other = GgufBuilder::model("qwen2").build();
    let (lora, model) = (adapter(), weights());
    let cases = vec![
        (
            CreateRequest::default(),
            ErrorKind::Invalid,
            "neither 'from' or 'files' was specified",
        ),
        (from_model("a//b"), ErrorKind::Invalid, "invalid model name"),
        (
            from_model("absent"),
            ErrorKind::NotFound,
            "model 'absent:latest' not found, try pulling it first",
        ),
        (
            from_model("gpt-oss:20b-cloud"),
            ErrorKind::Forbidden,
            "ollama cloud is disabled",
        ),
        (missing, ErrorKind::Internal, "blob \"sha256:"),
        (
            files(&[("notes.txt", b"hello")]),
            ErrorKind::Invalid,
            "unknown type",
        ),
        (
            files(&[("model.safetensors", b"x"), ("config.json", b"{}")]),
            ErrorKind::Invalid,
            "importing safetensors is not supported",
        ),
        (
            files(&[("mmproj.gguf", &projector())]),
            ErrorKind::Invalid,
            "no base model was found",
        ),
        (
            files(&[("a.gguf", &model), ("b.gguf", &other)]),
            ErrorKind::Invalid,
            "b.gguf: there is another model file",
        ),
        (
            adapters(&[("a.gguf", &lora), ("b.gguf", &lora)]),
            ErrorKind::Invalid,
            "only one adapter is currently supported",
        ),
        (
            adapters(&[("a.gguf", &model)]),
            ErrorKind::Invalid,
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
            ErrorKind::Internal,
            "unsupported quantization type Q5_1 - supported types are",
        ),
        (
            quantized(7, "q4_K_M"),
            ErrorKind::Internal,
            "quantization is only supported for F16, BF16 and F32 models",
        ),
        (
            parameters(json!({"num_ctx": "big"})),
            ErrorKind::Invalid,
            "option \"num_ctx\" must be of type integer",
        ),
        (
            info(json!({"base_name": 1})),
            ErrorKind::Invalid,
            "info field \"base_name\" must be a string",
        ),
        (
            info(json!({"context_length": "1"})),
            ErrorKind::Invalid,
            "info field \"context_length\" must be a number",
        ),
        (
            info(json!({"context_length": -1})),
            ErrorKind::Invalid,
            "info field \"context_length\" must be a non-negative integer",
        ),
    ];
    check_refusals(&mut bench, cases);
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
        .map_err(|error| (error.kind, error.message))
    };
    assert_eq!(check("a/b.gguf", &digest), Ok(()));
    for path in ["", "/a", "a/", "../a", "a/./b", "a//b", "."] {
        let refusal = Err((ErrorKind::Invalid, "file path must be relative".to_owned()));
        assert_eq!(check(path, &digest), refusal, "{path:?}");
    }
    let refusal = Err((ErrorKind::Invalid, "invalid digest format".to_owned()));
    assert_eq!(check("a", ""), refusal);
    assert_eq!(check("a", "sha256:12"), refusal);
}
