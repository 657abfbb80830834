//! Split GGUF files: one layer, or an error that names the file.

use super::*;
use crate::model::gguf::splitter::{fill, split};

/// A model with tensors for three parts, filled with data.
fn whole() -> Vec<u8> {
    let tensors = GgufBuilder::model("llama")
        .value("tokenizer.chat_template", "{{ messages }}")
        .tensor("blk.0.ffn_up.weight", "Q8_0", &[64, 3])
        .tensor("blk.1.ffn_up.weight", "F16", &[5, 7])
        .tensor("output.weight", "F32", &[3]);
    fill(tensors.build())
}

fn name(number: usize) -> String {
    format!("big/m-{number:05}-of-00003.gguf")
}

/// A request with these parts as `(number in the name, content)`.
fn request(bench: &Bench, parts: &[(usize, &[u8])]) -> CreateRequest {
    let digests = parts
        .iter()
        .map(|(number, content)| (name(*number), bench.upload(content)));
    CreateRequest {
        files: digests.collect(),
        ..CreateRequest::default()
    }
}

#[test]
fn parts_become_the_file_that_they_were() {
    let mut bench = Bench::new();
    let whole = whole();
    let parts = split(&whole, 3);
    let mut request = request(&bench, &[(3, &parts[2]), (1, &parts[0]), (2, &parts[1])]);
    request
        .files
        .extend(bench.files(&[("big/z.gguf", &projector())]));
    let mut said = Vec::new();
    let mut tell = |status| said.push(status);
    create(&bench.store, &parse("m"), &request, &requantized, &mut tell).unwrap();

    assert_eq!(bench.kinds("m"), ["model", "projector"]);
    let layer = bench.model("m").manifest.layers[0].clone();
    assert_eq!(layer.digest, Digest::of(&whole).to_string());
    assert_eq!((layer.size, layer.from.as_str()), (whole.len() as u64, ""));
    let merging: Vec<_> = said
        .iter()
        .filter(|status| status.status == "merging 3 parts of split GGUF")
        .map(|status| (status.completed, status.total))
        .collect();
    let total = Some(whole.len() as u64);
    assert_eq!(merging, [(Some(0), total), (total, total)]);
    let new = format!("creating new layer {}", layer.digest);
    assert!(said.iter().any(|status| status.status == new), "{said:?}");

    let before = bench.model("m").digest;
    bench.create("m", &request).unwrap();
    assert_eq!(bench.model("m").digest, before);
}

/// A hand-made part; `no` counts from 0.
fn part(file: GgufBuilder, no: usize) -> GgufBuilder {
    file.value("split.no", no)
        .value("split.count", 3)
        .value("split.tensors.count", 5)
}

#[test]
fn a_first_part_may_have_no_tensors_and_its_alignment_holds() {
    let mut bench = Bench::new();
    let first = GgufBuilder::new("llama").value("general.alignment", 64);
    let [first, rest] = [(first, 0), (GgufBuilder::default(), 1)].map(|(file, no)| {
        part(file, no)
            .value("split.count", 2)
            .value("split.tensors.count", 2)
            .value("llama.split.count", 2)
    });
    let rest = rest.tensor("a", "F32", &[8]).tensor("b", "F32", &[8]);
    let rest = fill(rest.build());
    let files = [
        ("m-00001-of-00002.gguf", &*first.build()),
        ("m-00002-of-00002.gguf", &*rest),
    ];
    let request = CreateRequest {
        files: bench.files(&files),
        ..CreateRequest::default()
    };
    bench.create("m", &request).unwrap();
    let digest = bench.model("m").manifest.layers[0].digest.clone();
    let path = bench.store.blob_path(&digest.parse().unwrap());
    let merged = fs_err::read(&path).unwrap();
    let header = bench.store.gguf(&path).unwrap();
    let keys: Vec<&str> = header.values.keys().map(|key| &**key).collect();
    assert_eq!(keys, ["general.architecture", "general.alignment"]);
    let offsets: Vec<u64> = header.tensors.iter().map(|tensor| tensor.offset).collect();
    assert_eq!(offsets, [0, 64]);
    let (a, b) = rest[rest.len() - 64..].split_at(32);
    assert_eq!(
        &merged[merged.len() - 128..],
        [a, &[0; 32], b, &[0; 32]].concat()
    );
}

#[test]
fn a_split_model_is_quantized_after_the_merge() {
    let mut bench = Bench::new();
    let file = fill(
        GgufBuilder::model("llama")
            .value("general.file_type", 1)
            .build(),
    );
    let parts = split(&file, 2);
    let files = [
        ("m-00001-of-00002.gguf", &*parts[0]),
        ("m-00002-of-00002.gguf", &*parts[1]),
    ];
    let request = CreateRequest {
        files: bench.files(&files),
        quantize: "q8_0".to_owned(),
        ..CreateRequest::default()
    };
    bench.create("m", &request).unwrap();
    assert_eq!(bench.kinds("m"), ["model"]);
    assert_eq!(bench.model("m").config.file_type, "Q8_0");
}

/// Parts, and the rest of the error about them.
type Misfit<'a> = ([(usize, &'a [u8]); 3], &'static str);

#[test]
fn parts_that_do_not_fit_are_named() {
    let mut bench = Bench::new();
    let parts = split(&whole(), 3);
    let [one, two, three] = [&*parts[0], &*parts[1], &*parts[2]];
    let of_five = split(&whole(), 5);
    let larger = GgufBuilder::model("llama").tensor("x", "F32", &[3]);
    let larger = split(&larger.build(), 3);
    let third = |file: GgufBuilder| part(file, 2).build();
    let twin = third(GgufBuilder::default().tensor("output_norm.weight", "F32", &[3]));
    let stranger = third(GgufBuilder::new("qwen2").tensor("output.weight", "F32", &[3]));
    let (empty, unnumbered) = (
        third(GgufBuilder::default()),
        GgufBuilder::default().value("split.count", 3).build(),
    );
    let cases: [Misfit<'_>; 9] = [
        (
            [(1, one), (1, one), (3, three)],
            "1-of-00003.gguf\" has 2 shards, expected 3: \"big/m-00002-of-00003.gguf\" is missing",
        ),
        (
            [(2, two), (2, two), (3, three)],
            "2-of-00003.gguf\" has 2 shards, expected 3: \"big/m-00001-of-00003.gguf\" is missing",
        ),
        (
            [(1, one), (2, three), (3, two)],
            "2-of-00003.gguf\" filename index 1 does not match metadata index 2",
        ),
        (
            [(1, one), (2, one), (3, three)],
            "2-of-00003.gguf\" filename index 1 does not match metadata index 0",
        ),
        (
            [(1, one), (2, &of_five[1]), (3, three)],
            "2-of-00003.gguf\" filename count 3 does not match metadata count 5",
        ),
        (
            [(1, one), (2, &unnumbered), (3, three)],
            "2-of-00003.gguf\" is missing split.no metadata",
        ),
        (
            [(1, one), (2, two), (3, &larger[2])],
            "3-of-00003.gguf\" tensor count does not match \"big/m-00001-of-00003.gguf\"",
        ),
        (
            [(1, one), (2, two), (3, &twin)],
            "3-of-00003.gguf\" has tensor \"output_norm.weight\", as \"big/m-00001-of-00003.gguf\" has",
        ),
        (
            [(1, one), (2, two), (3, &stranger)],
            "3-of-00003.gguf\" architecture does not match \"big/m-00001-of-00003.gguf\"",
        ),
    ];
    let mut cases: Vec<_> = cases
        .map(|(parts, text)| {
            let text = format!("split GGUF \"big/m-0000{text}");
            (request(&bench, &parts), text)
        })
        .into();
    let short = request(
        &bench,
        &[(1, one), (2, two), (3, &three[..three.len() - 32])],
    );
    let text = "big/m-00003-of-00003.gguf: invalid GGUF file: tensor \"output.weight\" offset+size";
    cases.push((short, text.to_owned()));
    let none = request(&bench, &[(1, one), (2, two), (3, &empty)]);
    let text = "split GGUF \"big/m-00001-of-00003.gguf\" has 4 tensors, expected 5";
    cases.push((none, text.to_owned()));
    let unnamed = CreateRequest {
        files: bench.files(&[("m.gguf", one)]),
        ..CreateRequest::default()
    };
    let text = "split GGUF \"m.gguf\" must use llama.cpp split filename pattern";
    cases.push((unnamed, text.to_owned()));
    let cases = cases
        .iter()
        .map(|(request, text)| (request.clone(), ErrorKind::Invalid, text.as_str()));
    check_refusals(&mut bench, cases.collect());
}
