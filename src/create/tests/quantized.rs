//! Weights of other types.

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
