//! Headers: what is read, what is refused, and that no input makes the reader panic.

use std::io::Cursor;

use proptest::prelude::*;
use serde_json::json;

use super::builder::GgufBuilder;
use super::*;

fn read(bytes: &[u8]) -> Result<Metadata, GgufError> {
    Metadata::read(&mut Cursor::new(bytes))
}

fn sample() -> GgufBuilder {
    GgufBuilder::model("llama")
        .value("llama.attention.layer_norm_rms_epsilon", 1e-6)
        .value("llama.attention.head_count_kv", json!([1, 4]))
        .value("tokenizer.ggml.tokens", json!(["<s>", "a", "\u{e9}"]))
        .value("tokenizer.ggml.scores", vec![0.5; 1500])
}

#[track_caller]
fn check_refused(bytes: &[u8], text: &str) {
    let error = read(bytes).unwrap_err().to_string();
    assert!(error.contains(text), "{error}");
}

#[test]
fn keys_and_tensors() {
    let metadata = read(&sample().build()).unwrap();
    assert_eq!(metadata.architecture(), "llama");
    assert_eq!(metadata.number(".context_length"), Some(128));
    assert_eq!(metadata.number(".attention.head_count_kv"), Some(4));
    let shown = |key| serde_json::to_string(metadata.get(key).unwrap()).unwrap();
    assert_eq!(shown(".attention.layer_norm_rms_epsilon"), "0.000001");
    assert_eq!(shown(".attention.head_count_kv"), "[1,4]");
    assert_eq!(shown("tokenizer.ggml.tokens"), "[\"<s>\",\"a\",\"\u{e9}\"]");
    assert_eq!(metadata.file_type(), "Q8_0");
    assert_eq!(metadata.parameter_count(), 32 * 8 + 32);
    let kinds: Vec<_> = metadata.tensors.iter().map(|tensor| tensor.kind).collect();
    assert_eq!(kinds, ["Q8_0", "F32"]);
}

#[test]
fn long_arrays_are_left_out_unless_they_are_asked_for() {
    let tokens: Vec<String> = (0..2000).map(|n| format!("t{n}")).collect();
    let bytes = sample()
        .value("tokenizer.ggml.tokens", tokens)
        .value("tokenizer.ggml.bos_token_id", 1999)
        .value("tokenizer.ggml.eos_token_id", 3)
        .value("tokenizer.ggml.unknown_token_id", 2000)
        .build();
    let metadata = read(&bytes).unwrap();
    let left_out = metadata.get("tokenizer.ggml.scores").unwrap();
    assert_eq!(serde_json::to_string(left_out).unwrap(), "null");
    assert_eq!(left_out.n_elements(), Some(1500));
    assert!(metadata.weight() < 4000, "{}", metadata.weight());
    let whole = Metadata::read_whole(&mut Cursor::new(&bytes)).unwrap();
    let Some(Value::Numbers(scores)) = whole.get("tokenizer.ggml.scores") else {
        panic!("{:?}", whole.get("tokenizer.ggml.scores"));
    };
    assert_eq!(scores.iter().nth(1499), Some(Value::Single(0.5)));
    for metadata in [metadata, whole] {
        let token = |name: &str| {
            let token = metadata.special_token(&format!("tokenizer.ggml.{name}_token_id"));
            token.map(std::borrow::Cow::into_owned)
        };
        assert_eq!(metadata.n_tokens(), Some(2000));
        assert_eq!(token("bos").as_deref(), Some("t1999"));
        assert_eq!(token("eos").as_deref(), Some("t3"));
        assert_eq!((token("unknown"), token("padding")), (None, None));
    }
}

#[test]
fn other_formats() {
    for bytes in [&b""[..], b"GG", b"PK\x03\x04zip", b"{\"a\":1}"] {
        assert!(matches!(read(bytes), Err(GgufError::NotGguf)));
    }
    check_refused(b"FUGG\0\0\0\x03", "big-endian");
    check_refused(b"GGUF\x01\0\0\0", "unsupported version 1");
}

#[test]
fn truncated_files() {
    let bytes = sample().build();
    check_refused(&bytes[..bytes.len() - 1 - 96], "exceeds file size");
    for cut in 4..bytes.len() - 128 {
        assert!(read(&bytes[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn absurd_counts() {
    let header = |tensors: u64, keys: u64| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(keys.to_le_bytes());
        bytes
    };
    check_refused(&header(u64::MAX, 0), "do not fit");
    check_refused(&header(0, u64::MAX), "do not fit");
    let mut array = header(0, 1);
    array.extend(1u64.to_le_bytes());
    array.push(b'k');
    array.extend(9u32.to_le_bytes());
    array.extend(8u32.to_le_bytes());
    array.extend((u64::MAX / 4).to_le_bytes());
    check_refused(&array, "too long");
}

#[test]
fn bad_layouts() {
    check_refused(
        &sample().value("general.alignment", 0).build(),
        "power of two",
    );
    for alignment in [24, 1 << 20] {
        check_refused(
            &sample().value("general.alignment", alignment).build(),
            "power of two",
        );
    }
    check_refused(
        &sample().tensor("output_norm.weight", "F32", &[1]).build(),
        "twice",
    );
}

#[test]
fn numbers_that_no_model_has() {
    let huge = u64::from(u32::MAX);
    for (key, value, text) in [
        ("block_count", json!(0), "`llama.block_count` is 0"),
        ("block_count", json!(513), "is 513"),
        ("block_count", json!(i32::MAX), "is 2147483647"),
        ("block_count", json!(u64::MAX), "is 18446744073709551615"),
        ("block_count", json!(-1), "is negative"),
        ("block_count", json!("2"), "is no whole number"),
        ("block_count", json!(2.0), "is no whole number"),
        ("block_count", json!([2, 2]), "is no whole number"),
        ("context_length", json!(huge), "is 4294967295"),
        ("embedding_length", json!(huge), "is 4294967295"),
        ("attention.head_count", json!(huge), "is 4294967295"),
        ("attention.head_count_kv", json!(huge), "is 4294967295"),
        (
            "attention.head_count_kv",
            json!([1]),
            "has 1 numbers for 2 layers",
        ),
        (
            "attention.head_count_kv",
            json!([1, 1, 1]),
            "has 3 numbers for 2",
        ),
        ("attention.head_count_kv", json!([-4, -1]), "is negative"),
        ("attention.head_count_kv", json!([1, huge]), "is 4294967295"),
        ("attention.key_length", json!(huge), "is 4294967295"),
        ("attention.sliding_window", json!(huge), "is 4294967295"),
        (
            "nextn_predict_layers",
            json!(3),
            "exceeds the number of blocks",
        ),
        ("expert_used_count", json!(2), "2 of 0 experts"),
        ("expert_count", json!(2048), "is 2048"),
        ("expert_group_count", json!(1), "1 groups of 0 experts"),
        (
            "dense_2_feat_in",
            json!(33),
            "is 33, and the model's width 32",
        ),
        ("dense_3_feat_out", json!(huge), "is 4294967295"),
        ("rope.scaling.type", json!(""), "is none of none, linear"),
        (
            "rope.dimension_sections",
            json!([90, 9, 9, 0]),
            "take 108 of the",
        ),
    ] {
        let file = sample().value(&format!("llama.{key}"), value.clone());
        let error = Hyperparameters::read(&read(&file.build()).unwrap());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(text), "{key} {value}: {error}");
    }
}

#[test]
fn numbers_of_a_model() {
    let read = |file: GgufBuilder| Hyperparameters::read(&read(&file.build()).unwrap()).unwrap();
    let model = read(sample());
    assert_eq!(model.n_head_kv, [1, 4]);
    assert_eq!((model.head_dim_k, model.head_dim_v), (16, 16));
    assert_eq!(
        (model.n_embd, model.n_vocab, model.n_ctx_train),
        (32, 3, 128)
    );
    let one = read(sample().value("llama.attention.head_count_kv", 1));
    assert_eq!(one.n_head_kv, [1, 1]);
    // As many KV heads as heads, if the file says nothing else.
    assert_eq!(read(GgufBuilder::model("llama")).n_head_kv, [2, 2]);
    assert_eq!(read(GgufBuilder::new("x")), Hyperparameters::default());
}

#[test]
fn numbers_that_no_projector_has() {
    let projector = GgufBuilder::new("clip").value("clip.vision.image_size", 896);
    let check = |file: &GgufBuilder| check_projector(&read(&file.build()).unwrap());
    check(&projector).unwrap();
    for (key, value) in [
        ("patch_size", 0),
        ("image_size", 1 << 30),
        ("block_count", 1000),
        ("sam.block_count", 2),
    ] {
        let file = projector
            .clone()
            .value(&format!("clip.vision.{key}"), value);
        let error = check(&file).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn a_token_that_is_there_twice_is_found_in_a_vocabulary_of_any_length() {
    let check = |tokens: Vec<&str>| {
        let file = sample().value("tokenizer.ggml.tokens", tokens).build();
        Metadata::read_checked(&mut Cursor::new(file)).map(drop)
    };
    // llama.cpp names empty tokens, and no other token may have such a name.
    check(vec!["a", "", "", "b", "\0", "[EMPTY_6]"]).unwrap();
    for (tokens, name) in [
        (vec!["a", "", "", "[EMPTY_2]"], "[EMPTY_2]"),
        (vec!["[EMPTY_1]", ""], "[EMPTY_1]"),
        (vec!["a", "b\0c", "b"], "b"),
    ] {
        let error = check(tokens).unwrap_err().to_string();
        assert!(error.contains(&format!("token {name:?} is in")), "{error}");
    }
    for count in [2, 3000] {
        let error = check(vec!["a"; count]).unwrap_err().to_string();
        assert!(
            error.contains("token \"a\" is in the vocabulary twice"),
            "{error}"
        );
    }
}

#[test]
fn what_a_header_holds_is_bounded() {
    let many = |n_keys: u64| {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(0u64.to_le_bytes());
        file.extend(n_keys.to_le_bytes());
        file
    };
    let mut texts = many(3);
    for key in *b"abc" {
        texts.extend(1u64.to_le_bytes());
        texts.push(key);
        texts.extend(8u32.to_le_bytes());
        texts.extend((12u64 << 20).to_le_bytes());
        texts.resize(texts.len() + (12 << 20), b'x');
    }
    check_refused(&texts, "too much text");
    let long = "a".repeat(1000);
    check_refused(&GgufBuilder::new(&long).build(), "too long");
    check_refused(&sample().value(&"k".repeat(1 << 16), 1).build(), "too long");
    let tensor = sample().tensor(&"t".repeat(2000), "F32", &[1]);
    check_refused(&tensor.build(), "too long");
}

#[test]
fn kinds_of_files() {
    let kind = |builder: GgufBuilder| read(&builder.build()).unwrap().kind();
    assert_eq!(kind(GgufBuilder::model("llama")), FileKind::Model);
    assert_eq!(
        kind(GgufBuilder::new("llama").value("general.type", "adapter")),
        FileKind::Adapter
    );
    assert_eq!(
        kind(GgufBuilder::new("clip").value("general.type", "mmproj")),
        FileKind::Projector
    );
    assert_eq!(
        kind(GgufBuilder::new("clip").value("clip.has_vision_encoder", true)),
        FileKind::Projector
    );
    assert_eq!(
        kind(GgufBuilder::new("x").value("x.vision.block_count", 1)),
        FileKind::Projector
    );
    assert_eq!(kind(GgufBuilder::new("x")), FileKind::Model);
}

proptest! {
    #[test]
    fn mutated_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        truncate: bool,
    ) {
        let mut bytes = sample().build();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        }
        let depths = [Metadata::read, Metadata::read_checked, Metadata::read_whole];
        for metadata in depths.into_iter().filter_map(|read| read(&mut Cursor::new(&bytes)).ok()) {
            let _ = (Hyperparameters::read(&metadata), check_projector(&metadata));
            let _ = (metadata.kind(), metadata.file_type());
            serde_json::to_string(metadata.values.values().next().unwrap_or(&Value::Bool(true))).unwrap();
        }
    }
}
