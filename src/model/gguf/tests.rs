//! Headers: what is read, what is refused, and that no bytes can make the reader panic.

use std::io::Cursor;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::builder::GgufBuilder;
use super::*;

fn read(bytes: &[u8]) -> Result<Metadata, GgufError> {
    Metadata::read(&mut Cursor::new(bytes))
}

fn sample() -> GgufBuilder {
    GgufBuilder::model("llama")
        .value("llama.attention.layer_norm_rms_epsilon", 1e-6)
        .value("llama.attention.head_count_kv", json!([1, 4, 2]))
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
    assert_eq!(
        metadata.get(".attention.layer_norm_rms_epsilon"),
        Some(&json!(1e-6))
    );
    assert_eq!(
        metadata.get("tokenizer.ggml.tokens"),
        Some(&json!(["<s>", "a", "\u{e9}"]))
    );
    assert_eq!(metadata.file_type(), "Q8_0");
    assert_eq!(metadata.parameter_count(), 32 * 8 + 32);
    let kinds: Vec<_> = metadata
        .tensors
        .iter()
        .map(|tensor| tensor.kind.as_str())
        .collect();
    assert_eq!(kinds, ["Q8_0", "F32"]);
    metadata.validate().unwrap();
}

#[test]
fn a_brief_header_has_no_long_arrays() {
    let bytes = sample().build();
    let brief = Metadata::read_brief(&mut Cursor::new(&bytes)).unwrap();
    assert_eq!(brief.get("tokenizer.ggml.scores"), Some(&Value::Null));
    assert!(brief.get("tokenizer.ggml.tokens").unwrap().is_array());
    assert_eq!(
        read(&bytes)
            .unwrap()
            .get("tokenizer.ggml.scores")
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        1500
    );
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
    check_refused(
        &sample().value("general.alignment", 24).build(),
        "power of two",
    );
    check_refused(
        &sample().tensor("output_norm.weight", "F32", &[1]).build(),
        "twice",
    );
}

#[test]
fn values_that_no_loader_takes() {
    for (key, value) in [
        ("llama.block_count", json!(0)),
        ("llama.block_count", json!(100_000)),
        ("llama.nextn_predict_layers", json!(3)),
        ("llama.expert_used_count", json!(2)),
        ("llama.rope.scaling.type", json!("")),
        ("tokenizer.ggml.tokens", json!(["a", "a"])),
    ] {
        let metadata = read(&sample().value(key, value).build()).unwrap();
        assert!(metadata.validate().is_err(), "{key}");
    }
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
        for metadata in [read(&bytes), Metadata::read_brief(&mut Cursor::new(&bytes))].into_iter().flatten() {
            let _ = (metadata.validate(), metadata.kind(), metadata.file_type(), compat::refusal(&metadata));
        }
    }
}
