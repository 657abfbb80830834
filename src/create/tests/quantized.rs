//! Quantized weights.

use super::*;

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
    // Repeating it yields the same digest.
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

/// The tensor types that the quantizer gets, for a model with these tensors.
fn told(architecture: &str, quantize: &str, tensors: &[&str]) -> Vec<(String, u32)> {
    let bench = Bench::new();
    let key = |key: &str| format!("{architecture}.{key}");
    let file = GgufBuilder::model(architecture)
        .value("general.file_type", 32)
        .value(&key("expert_count"), 4)
        .value(&key("expert_used_count"), 2)
        .value(&key("rope.dimension_count"), 8);
    let file = tensors
        .iter()
        .fold(file, |file, name| file.tensor(name, "BF16", &[32, 2]));
    let request = CreateRequest {
        files: bench.files(&[("m.gguf", &file.build())]),
        quantize: quantize.to_owned(),
        ..CreateRequest::default()
    };
    let told = std::sync::Mutex::new(Vec::new());
    let quantizer = |job: quantize::Job, progress: &mut (dyn FnMut(f32) + Send)| {
        told.lock().unwrap().clone_from(&job.tensor_types);
        requantized(job, progress)
    };
    create(&bench.store, &parse("m"), &request, &quantizer, &mut |_| {}).unwrap();
    let told = told.into_inner().unwrap().into_iter();
    told.map(|tensor| (tensor.name, tensor.code)).collect()
}

#[test]
fn tensors_that_lose_too_much_by_four_bits_get_more() {
    const F16: u32 = 1;
    const Q8_0: u32 = 8;
    const BF16: u32 = 30;
    let names = [
        "blk.3.attn_q_a.weight",
        "blk.3.attn_output.weight",
        "blk.3.nextn.eh_proj.weight",
        "output.weight",
        "per_layer_token_embd.weight",
        "v.blk.0.attn_q.weight",
    ];
    let tower = ("v.blk.0.attn_q.weight", BF16);
    for (architecture, quantize, expected) in [
        ("deepseek2", "q4_K_M", vec![(names[0], Q8_0), tower]),
        ("deepseek2", "q4_k_s", vec![(names[0], Q8_0), tower]),
        ("deepseek2", "q8_0", vec![tower]),
        ("qwen35moe", "q4_k", vec![(names[2], Q8_0), tower]),
        ("gemma3n", "q4_k", vec![(names[4], F16), tower]),
        (
            "glm4",
            "q4_k",
            vec![("token_embd.weight", F16), (names[3], F16), tower],
        ),
        ("glm4moe", "q4_k", vec![tower]),
    ] {
        let told = told(architecture, quantize, &names);
        let told: Vec<_> = told
            .iter()
            .map(|(name, code)| (name.as_str(), *code))
            .collect();
        assert_eq!(told, expected, "{architecture} {quantize}");
    }
}
