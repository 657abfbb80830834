//! The shared pairs of tiny models: one as Ollama wrote it, one as llama.cpp wants it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Loadable, has_projector, is_foreign, projector, weights};
use crate::model::gguf::{Hyperparameters, Metadata, check_projector};
use crate::view::{Convert, Form, Reader};

/// The pairs: a file in Ollama's layout, and one in llama.cpp's.
const PAIRS: &[(&str, &str)] = &[
    ("gptoss-ollama", "gptoss-upstream"),
    ("gptoss-first-generation-ollama", "gptoss-upstream"),
    ("gemma3-ollama", "gemma3-upstream"),
    ("gemma3-1b-ollama", "gemma3-1b-upstream"),
    ("embeddinggemma-ollama", "embeddinggemma-upstream"),
    ("mistral3-ollama", "mistral3-upstream"),
    ("qwen25vl-ollama", "qwen25vl-upstream"),
];

const PROJECTORS: &[&str] = &["gemma3", "mistral3", "qwen25vl"];

#[expect(clippy::disallowed_methods, reason = "where the test data is")]
fn file(name: &str) -> Option<PathBuf> {
    let root = std::env::var("DROVER_TESTDATA").unwrap_or_else(|_| "../shared/testdata".to_owned());
    let path = Path::new(&root).join("gguf").join(format!("{name}.gguf"));
    if !path.is_file() {
        println!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}

/// Reads the types in these files.
struct Halves;

impl Convert for Halves {
    fn to_f32(&self, kind: u32, blocks: &[u8], numbers: &mut [f32]) -> bool {
        let (halves, _) = blocks.as_chunks();
        let halves = halves.iter().map(|bytes| u16::from_le_bytes(*bytes));
        let convert: fn(u16) -> f32 = match kind {
            1 => f16,
            30 => |half| f32::from_bits(u32::from(half) << 16),
            _ => return false,
        };
        numbers
            .iter_mut()
            .zip(halves)
            .for_each(|(to, from)| *to = convert(from));
        true
    }
}

/// Converts half precision; none of the weights is infinite.
fn f16(half: u16) -> f32 {
    let (sign, exponent, fraction) = (half >> 15, (half >> 10) & 31, half & 1023);
    let fraction = f32::from(fraction) / 1024.0;
    let value = match exponent {
        0 => fraction * 2.0_f32.powi(-14),
        _ => (1.0 + fraction) * 2.0_f32.powi(i32::from(exponent) - 15),
    };
    if sign == 1 { -value } else { value }
}

/// The bytes of a file as llama.cpp reads it.
fn bytes(loadable: &Loadable) -> Vec<u8> {
    let original = fs_err::read(&loadable.file.path).unwrap();
    let Form::View(view) = &loadable.file.form else {
        return original;
    };
    let reader = Reader::new(original.as_slice(), view, Halves);
    let mut bytes = vec![0; usize::try_from(reader.n_bytes()).unwrap()];
    assert_eq!(reader.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

/// Type, shape and data of each tensor.
type Tensors = BTreeMap<String, (u32, Vec<u64>, Vec<u8>)>;

fn tensors(file: &[u8]) -> Tensors {
    let mut file = std::io::Cursor::new(file);
    let (metadata, layout) = Metadata::read_with_layout(&mut file).unwrap();
    let tensors = metadata.tensors.iter().zip(&layout.tensors);
    let tensors = tensors.map(|(info, place)| {
        let range =
            usize::try_from(place.data.start).unwrap()..usize::try_from(place.data.end).unwrap();
        let data = file.get_ref()[range].to_vec();
        (info.name.clone(), (place.code, info.shape.clone(), data))
    });
    tensors.collect()
}

fn load(path: &Path) -> Loadable {
    weights(path, &mut fs_err::File::open(path).unwrap()).unwrap()
}

/// Replaces the data of a tensor in a file.
fn replace(file: &mut [u8], tensor: &str, data: &[u8]) {
    let header = Metadata::read_with_layout(&mut std::io::Cursor::new(&*file)).unwrap();
    let index = header
        .0
        .tensors
        .iter()
        .position(|info| info.name == tensor)
        .unwrap();
    let start = usize::try_from(header.1.tensors[index].data.start).unwrap();
    file[start..start + data.len()].copy_from_slice(data);
}

const F32: u32 = 0;

/// Whether numbers are those of another file, rounded to so many binary digits (half precision has 11; BF16 by
/// truncation has 7).
fn is_rounded(ours: &[u8], theirs: &[u8], digits: i32) -> bool {
    let numbers = |bytes: &[u8]| -> Vec<f32> {
        let (numbers, _) = bytes.as_chunks();
        numbers
            .iter()
            .map(|number| f32::from_le_bytes(*number))
            .collect()
    };
    let mut pairs = numbers(ours).into_iter().zip(numbers(theirs));
    pairs.all(|(a, b)| (a - b).abs() <= b.abs() * 2.0_f32.powi(-digits) + 2.0_f32.powi(-25))
}

/// Joins query, key and value, as in the first files.
fn join_qkv(file: Tensors) -> Tensors {
    let mut joined: Tensors = BTreeMap::new();
    let order = |name: &str| (name.contains("attn_k."), name.contains("attn_v."));
    let mut tensors: Vec<_> = file.into_iter().collect();
    tensors.sort_by_key(|(name, _)| (order(name).1, order(name).0));
    for (mut name, tensor) in tensors {
        for part in [".attn_q.", ".attn_k.", ".attn_v."] {
            name = name.replace(part, ".attn_qkv.");
        }
        match joined.get_mut(&name) {
            Some(known) => {
                *known.1.last_mut().unwrap() += tensor.1.last().unwrap();
                known.2.extend(tensor.2);
            }
            None => drop(joined.insert(name, tensor)),
        }
    }
    joined
}

#[track_caller]
fn check_same(name: &str, ours: &[u8], theirs: &[u8]) {
    let (ours, mut theirs) = (tensors(ours), tensors(theirs));
    if ours.keys().any(|name| name.contains("attn_qkv")) {
        theirs = join_qkv(theirs);
    }
    let names = |of: &BTreeMap<String, _>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs), "{name}");
    for (tensor, wanted) in &theirs {
        let (kind, shape, data) = &ours[tensor];
        assert_eq!((kind, shape), (&wanted.0, &wanted.1), "{name}: {tensor}");
        // Some have fewer digits in Ollama's file.
        let digits = if tensor.ends_with("_exps.bias") {
            7
        } else {
            11
        };
        let is_same = data == &wanted.2 || *kind == F32 && is_rounded(data, &wanted.2, digits);
        assert!(is_same, "{name}: {tensor}");
    }
}

#[test]
fn weights_become_what_llama_cpp_wants_to_the_byte() {
    for (ollama, upstream) in PAIRS {
        let (Some(ollama_path), Some(upstream_path)) = (file(ollama), file(upstream)) else {
            continue;
        };
        let original = Metadata::read(&mut fs_err::File::open(&ollama_path).unwrap()).unwrap();
        assert!(is_foreign(&original), "{ollama}");
        let (ours, theirs) = (load(&ollama_path), load(&upstream_path));
        assert_eq!(theirs.file.form, Form::Original, "{upstream}");
        check_same(ollama, &bytes(&ours), &bytes(&theirs));
        let numbers = |of: &Loadable| Hyperparameters::read(&of.metadata).unwrap();
        assert_eq!(numbers(&ours), numbers(&theirs), "{ollama}");
        for (key, value) in &theirs.metadata.values {
            let is_of_model = !key.starts_with("general.") && !key.starts_with("tokenizer.chat");
            let ours = ours.metadata.values.get(key);
            let is_same = json(ours) == json(Some(value)) || is_close(ours, value);
            assert!(
                !is_of_model || is_same,
                "{ollama}: {key}: {ours:?}, wanted {value:?}"
            );
        }
    }
}

/// The value as JSON, without the types of numbers.
fn json(value: Option<&crate::model::gguf::Value>) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

/// Compares with a tolerance, since overrides are in double precision.
fn is_close(ours: Option<&crate::model::gguf::Value>, theirs: &crate::model::gguf::Value) -> bool {
    use crate::model::gguf::Value::{Double, Single};
    match (ours, theirs) {
        (Some(Double(ours)), Single(theirs)) => (ours - f64::from(*theirs)).abs() < 1e-9,
        _ => false,
    }
}

#[test]
fn projectors_become_what_llama_cpp_wants_to_the_byte() {
    for family in PROJECTORS {
        let names = [
            format!("{family}-ollama"),
            format!("{family}-upstream-projector"),
        ];
        let [Some(ollama), Some(upstream)] = names.map(|name| file(&name)) else {
            continue;
        };
        let mut opened = fs_err::File::open(&ollama).unwrap();
        let original = Metadata::read(&mut opened).unwrap();
        assert!(has_projector(&original), "{family}");
        let ours = projector(&ollama, &mut opened).unwrap();
        check_projector(&ours.metadata).unwrap();
        let mut theirs = fs_err::read(&upstream).unwrap();
        // The tiny model has zeros there; real models have the token's row, as ours.
        if let Some(row) = tensors(&bytes(&ours)).get("v.token_embd.img_break") {
            let zeros = tensors(&theirs)["v.token_embd.img_break"].2.len();
            assert_eq!(row.2.len(), zeros);
            assert!(row.2.iter().any(|byte| *byte != 0));
            replace(&mut theirs, "v.token_embd.img_break", &row.2);
        }
        check_same(family, &bytes(&ours), &theirs);
        let theirs = load(&upstream);
        for (key, value) in &theirs.metadata.values {
            let Some(ours) = ours.metadata.values.get(key) else {
                assert!(
                    !key.starts_with("clip.vision.") || key.ends_with("projector_type"),
                    "{family}: {key}"
                );
                continue;
            };
            assert!(
                !key.starts_with("clip.") || ours == value,
                "{family}: {key}: {ours:?} {value:?}"
            );
        }
    }
}
