//! Writes tiny GGUF files for tests.

use serde_json::Value;

use super::tensor::kind_named;

/// Collects keys and tensors; [`GgufBuilder::build`] gives the file's bytes.
///
/// JSON values choose the GGUF type: strings, booleans, floats (32-bit), non-negative integers (unsigned
/// 32-bit, or 64-bit where needed), negative ones (signed), arrays of one kind; token types are signed.
#[derive(Debug, Clone, Default)]
pub struct GgufBuilder {
    values: Vec<(String, Value)>,
    tensors: Vec<(String, String, Vec<u64>)>,
    /// The seed of random numbers that replace the zeros.
    seed: Option<u64>,
}

impl GgufBuilder {
    /// Starts a file of this architecture.
    pub fn new(architecture: &str) -> Self {
        Self::default().value("general.architecture", architecture)
    }

    /// A small chat model: two blocks, a context of 128, one quantized and one plain tensor.
    pub fn model(architecture: &str) -> Self {
        Self::new(architecture)
            .value("general.file_type", 7)
            .value(&format!("{architecture}.block_count"), 2)
            .value(&format!("{architecture}.context_length"), 128)
            .value(&format!("{architecture}.embedding_length"), 32)
            .value(&format!("{architecture}.attention.head_count"), 2)
            .tensor("token_embd.weight", "Q8_0", &[32, 8])
            .tensor("output_norm.weight", "F32", &[32])
    }

    /// Adds or replaces a key.
    #[must_use]
    pub fn value(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.values.retain(|(known, _)| known != key);
        self.values.push((key.to_owned(), value.into()));
        self
    }

    /// Adds a tensor of this type (`F32`, `Q8_0`, …), filled with zeros.
    #[must_use]
    pub fn tensor(mut self, name: &str, kind: &str, shape: &[u64]) -> Self {
        self.tensors
            .push((name.to_owned(), kind.to_owned(), shape.to_vec()));
        self
    }

    /// Fills the tensors of `F32` and `F16` with small random numbers, the same for the same seed.
    #[must_use]
    pub fn noise(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Returns the file.
    ///
    /// # Panics
    /// On unknown tensor types and on shapes that are not whole blocks; this is for tests.
    #[expect(clippy::panic, reason = "a mistake in a test should be loud")]
    pub fn build(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3u32.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.values.len() as u64).to_le_bytes());
        for (key, value) in &self.values {
            write_string(&mut file, key);
            file.extend(type_of(value).to_le_bytes());
            match value.as_array() {
                Some(kinds) if key.ends_with(".token_type") => write_signed(&mut file, kinds),
                _ => write_value(&mut file, value, type_of(value)),
            }
        }
        let mut offset = 0u64;
        let mut places = Vec::new();
        for (name, kind, shape) in &self.tensors {
            let Some((size, code)) =
                kind_named(kind).and_then(|kind| Some((kind.size_bytes(shape)?, kind.code)))
            else {
                panic!("bad tensor `{name}`");
            };
            write_string(&mut file, name);
            file.extend(u32::try_from(shape.len()).unwrap_or(u32::MAX).to_le_bytes());
            for side in shape {
                file.extend(side.to_le_bytes());
            }
            file.extend(code.to_le_bytes());
            file.extend(offset.to_le_bytes());
            places.push((kind.as_str(), offset, size));
            offset += size.next_multiple_of(32);
        }
        let begin = file.len().next_multiple_of(32);
        let in_file = |offset: u64| begin + usize::try_from(offset).unwrap_or(usize::MAX);
        file.resize(in_file(offset), 0);
        if let Some(seed) = self.seed {
            let mut random = fastrand::Rng::with_seed(seed);
            for (kind, offset, size) in places {
                let data = &mut file[in_file(offset)..in_file(offset + size)];
                fill(data, kind, &mut random);
            }
        }
        file
    }
}

fn fill(data: &mut [u8], kind: &str, random: &mut fastrand::Rng) {
    match kind {
        "F32" => {
            for number in data.as_chunks_mut().0 {
                *number = (random.f32() - 0.5).to_le_bytes();
            }
        }
        "F16" => {
            for number in data.as_chunks_mut().0 {
                // Of either sign, from 1/32 to 1/4.
                let bits = random.u16(..) & 0x83ff | random.u16(10..13) << 10;
                *number = bits.to_le_bytes();
            }
        }
        _ => {}
    }
}

fn write_string(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
}

fn type_of(value: &Value) -> u32 {
    match value {
        Value::Bool(_) => 7,
        Value::Number(number) if number.is_f64() => 6,
        Value::Number(number) if number.as_u64().is_some_and(|n| u32::try_from(n).is_ok()) => 4,
        Value::Number(number) if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => 5,
        Value::Number(number) if number.is_u64() => 10,
        Value::Number(_) => 11,
        Value::Array(_) => 9,
        _ => 8,
    }
}

/// Writes a list of signed numbers, as llama.cpp requires for token types.
fn write_signed(file: &mut Vec<u8>, numbers: &[Value]) {
    file.extend(5u32.to_le_bytes());
    file.extend((numbers.len() as u64).to_le_bytes());
    for number in numbers {
        write_value(file, number, 5);
    }
}

fn write_value(file: &mut Vec<u8>, value: &Value, kind: u32) {
    match kind {
        7 => file.push(u8::from(value.as_bool() == Some(true))),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "tests write single precision"
        )]
        6 => file.extend((value.as_f64().unwrap_or(0.0) as f32).to_le_bytes()),
        4 => file.extend(
            u32::try_from(value.as_u64().unwrap_or(0))
                .unwrap_or(0)
                .to_le_bytes(),
        ),
        5 => file.extend(
            i32::try_from(value.as_i64().unwrap_or(0))
                .unwrap_or(0)
                .to_le_bytes(),
        ),
        10 => file.extend(value.as_u64().unwrap_or(0).to_le_bytes()),
        11 => file.extend(value.as_i64().unwrap_or(0).to_le_bytes()),
        9 => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let kind = items.first().map_or(8, type_of);
            file.extend(kind.to_le_bytes());
            file.extend((items.len() as u64).to_le_bytes());
            for item in items {
                write_value(file, item, kind);
            }
        }
        _ => write_string(file, value.as_str().unwrap_or_default()),
    }
}
