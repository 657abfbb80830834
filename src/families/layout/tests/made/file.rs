//! A small file with random weights under construction, so that it can be turned into what Ollama wrote.

use std::io::Cursor;

use indexmap::IndexMap;
use serde_json::Value;

use crate::model::gguf::Metadata;
use crate::model::gguf::builder::GgufBuilder;

/// Widths of the text models, of their feed-forward layers, and of their heads.
pub(super) const E: u64 = 64;
pub(super) const FF: u64 = 96;
pub(super) const HEAD: u64 = 16;

/// Heads of queries, and of keys and values.
pub(super) const N_HEAD: u64 = 4;
pub(super) const N_HEAD_KV: u64 = 2;

/// The number of tokens of every vocabulary.
pub(super) const N_VOCAB: u64 = 268;

pub(super) const N_EXPERT: u64 = 4;

/// A tensor in single precision.
#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    shape: Vec<u64>,
    data: Vec<f32>,
}

/// A file under construction. Keys that begin with a dot stand for keys of the architecture.
#[derive(Debug, Clone)]
pub(super) struct File {
    architecture: String,
    keys: IndexMap<String, Value>,
    tensors: Vec<Tensor>,
}

impl File {
    /// A projector without its tensors.
    pub(super) fn projector(kind: &str) -> Self {
        let mut file = Self::empty("clip");
        file.set("general.type", "mmproj");
        file.set("clip.has_vision_encoder", true);
        file.set("clip.vision.projector_type", kind);
        file
    }

    fn empty(architecture: &str) -> Self {
        Self {
            architecture: architecture.to_owned(),
            keys: IndexMap::new(),
            tensors: Vec::new(),
        }
    }

    /// A text model without its layers, and with a vocabulary like GPT-2's.
    pub(super) fn new(architecture: &str, n_layers: u64) -> Self {
        let mut file = Self::empty(architecture);
        let marks = (256..N_VOCAB).map(|id| format!("<mark{id}>"));
        let tokens: Vec<String> = letters().map(String::from).chain(marks).collect();
        let kinds: Vec<i32> = (0..N_VOCAB)
            .map(|id| if id < 256 { 1 } else { 3 })
            .collect();
        file.set("tokenizer.ggml.model", "gpt2");
        file.set("tokenizer.ggml.tokens", tokens);
        file.set("tokenizer.ggml.token_type", kinds);
        file.set("tokenizer.ggml.merges", vec!["a b", "b a"]);
        file.set("tokenizer.ggml.eos_token_id", 256);
        for (key, value) in [
            (".block_count", n_layers),
            (".context_length", 256),
            (".embedding_length", E),
            (".feed_forward_length", FF),
            (".attention.head_count", N_HEAD),
            (".attention.head_count_kv", N_HEAD_KV),
            (".attention.key_length", HEAD),
            (".attention.value_length", HEAD),
            (".rope.dimension_count", HEAD),
        ] {
            file.set(key, value);
        }
        file.set(".attention.layer_norm_rms_epsilon", 1e-6);
        file.set(".rope.freq_base", 10_000.0);
        file.add("token_embd.weight", &[E, N_VOCAB]);
        file.add("output.weight", &[E, N_VOCAB]);
        file.add("output_norm.weight", &[E]);
        file
    }

    /// Replaces the vocabulary by one like Llama's.
    pub(super) fn with_pieces(mut self, model: &str) -> Self {
        let first = ["<pad>", "<eos>", "<bos>", "<unk>"].map(String::from);
        let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
        let last = (260..N_VOCAB).map(|id| format!("▁p{id}"));
        let tokens: Vec<String> = first.into_iter().chain(bytes).chain(last).collect();
        let kind = |id| match id {
            0..3 => 3,
            3 => 2,
            4..260 => 6,
            _ => 1,
        };
        self.set("tokenizer.ggml.model", model);
        self.set("tokenizer.ggml.tokens", tokens);
        self.set(
            "tokenizer.ggml.token_type",
            (0..N_VOCAB).map(kind).collect::<Vec<i32>>(),
        );
        self.set(
            "tokenizer.ggml.scores",
            vec![0.5; usize::try_from(N_VOCAB).unwrap()],
        );
        self.set("tokenizer.ggml.bos_token_id", 2);
        self.set("tokenizer.ggml.eos_token_id", 1);
        self
    }

    fn whole(&self, key: &str) -> String {
        if key.starts_with('.') {
            format!("{}{key}", self.architecture)
        } else {
            key.to_owned()
        }
    }

    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.keys.insert(self.whole(key), value.into());
    }

    /// Sets several keys of the architecture.
    pub(super) fn set_all(&mut self, keys: Value) {
        for (key, value) in keys.as_object().unwrap() {
            self.set(key, value.clone());
        }
    }

    /// Removes keys; they must exist.
    pub(super) fn unset(&mut self, keys: &[&str]) {
        for key in keys {
            let removed = self.keys.shift_remove(&self.whole(key));
            assert!(removed.is_some(), "{key}");
        }
    }

    pub(super) fn rename_key(&mut self, from: &str, to: &str) {
        let value = self.keys.shift_remove(&self.whole(from)).unwrap();
        self.set(to, value);
    }

    pub(super) fn rename_architecture(&mut self, name: &str) {
        let old = format!("{}.", self.architecture);
        let keys = std::mem::take(&mut self.keys).into_iter();
        let keys = keys.map(|(key, value)| match key.strip_prefix(&old) {
            Some(rest) => (format!("{name}.{rest}"), value),
            None => (key, value),
        });
        self.keys = keys.collect();
        name.clone_into(&mut self.architecture);
    }

    /// Adds a tensor with numbers that depend on its name: about one for norms, below zero for the decay of state,
    /// small ones otherwise.
    pub(super) fn add(&mut self, name: &str, shape: &[u64]) {
        let seed = name.bytes().fold(7, |seed: u64, byte| {
            seed.wrapping_mul(31).wrapping_add(byte.into())
        });
        let mut random = fastrand::Rng::with_seed(seed);
        let (least, most) = match name {
            name if name.contains("norm") || name.contains("rope_freqs") => (0.5, 1.5),
            name if name.ends_with("ssm_a") => (-1.5, -0.5),
            _ => (-0.25, 0.25),
        };
        let n = usize::try_from(shape.iter().product::<u64>()).unwrap();
        self.tensors.push(Tensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            data: (0..n)
                .map(|_| least + random.f32() * (most - least))
                .collect(),
        });
    }

    /// Adds a tensor with these numbers.
    pub(super) fn add_numbers(&mut self, name: &str, data: &[f32]) {
        self.tensors.push(Tensor {
            name: name.to_owned(),
            shape: vec![data.len() as u64],
            data: data.to_vec(),
        });
    }

    /// Adds the weight and the bias of a part.
    pub(super) fn add_both(&mut self, name: &str, shape: &[u64]) {
        self.add(&format!("{name}.weight"), shape);
        self.add(&format!("{name}.bias"), &shape[shape.len() - 1..]);
    }

    /// Adds all tensors of another file.
    pub(super) fn add_all(&mut self, other: &Self) {
        self.tensors.extend(other.tensors.iter().cloned());
    }

    /// Adds the tensors of a layer, without the prefix `blk.N.` and the suffix `.weight`; names with a dot get no
    /// suffix.
    pub(super) fn layer(&mut self, number: u64, tensors: &[(&str, &[u64])]) {
        for (name, shape) in tensors {
            let ending = if name.contains('.') || name.ends_with("ssm_a") || name.ends_with("ssm_d")
            {
                ""
            } else {
                ".weight"
            };
            self.add(&format!("blk.{number}.{name}{ending}"), shape);
        }
    }

    /// Adds attention with heads of that size.
    pub(super) fn attention(&mut self, number: u64, head: u64) {
        let (q, kv) = (N_HEAD * head, N_HEAD_KV * head);
        self.layer(
            number,
            &[
                ("attn_q", &[E, q]),
                ("attn_k", &[E, kv]),
                ("attn_v", &[E, kv]),
                ("attn_output", &[q, E]),
            ],
        );
    }

    /// Adds a dense feed-forward network.
    pub(super) fn dense(&mut self, number: u64) {
        self.layer(
            number,
            &[
                ("ffn_gate", &[E, FF]),
                ("ffn_up", &[E, FF]),
                ("ffn_down", &[FF, E]),
            ],
        );
    }

    /// Adds a mixture of experts, with its keys.
    pub(super) fn experts(&mut self, number: u64) {
        self.set(".expert_count", N_EXPERT);
        self.set(".expert_used_count", 2);
        self.set(".expert_feed_forward_length", FF);
        self.layer(
            number,
            &[
                ("ffn_gate_inp", &[E, N_EXPERT]),
                ("ffn_gate_exps", &[E, FF, N_EXPERT]),
                ("ffn_up_exps", &[E, FF, N_EXPERT]),
                ("ffn_down_exps", &[FF, E, N_EXPERT]),
            ],
        );
    }

    /// Adds the expert for every token.
    pub(super) fn shared_expert(&mut self, number: u64) {
        self.layer(
            number,
            &[
                ("ffn_gate_shexp", &[E, FF]),
                ("ffn_up_shexp", &[E, FF]),
                ("ffn_down_shexp", &[FF, E]),
            ],
        );
    }

    /// Replaces a part of names; at least one name must contain it.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let mut n = 0;
        for tensor in &mut self.tensors {
            if tensor.name.contains(from) {
                tensor.name = tensor.name.replace(from, to);
                n += 1;
            }
        }
        assert!(n > 0, "{from}");
    }

    pub(super) fn remove(&mut self, name: &str) {
        let n = self.tensors.len();
        self.tensors.retain(|tensor| tensor.name != name);
        assert_ne!(self.tensors.len(), n, "{name}");
    }

    fn take(&mut self, name: &str) -> Tensor {
        let index = self.tensors.iter().position(|tensor| tensor.name == name);
        self.tensors.remove(index.unwrap())
    }

    /// Cuts a tensor into equal parts along its last dimension.
    pub(super) fn cut(&mut self, name: &str, parts: &[&str]) {
        let whole = self.take(name);
        let mut shape = whole.shape;
        *shape.last_mut().unwrap() /= parts.len() as u64;
        let pieces = whole.data.chunks(whole.data.len() / parts.len());
        for (name, data) in parts.iter().zip(pieces) {
            self.tensors.push(Tensor {
                name: (*name).to_owned(),
                shape: shape.clone(),
                data: data.to_vec(),
            });
        }
    }

    /// Joins two tensors into one with alternating pieces of that length.
    pub(super) fn interleave(&mut self, names: [&str; 2], length: u64, new: &str, shape: &[u64]) {
        let length = usize::try_from(length).unwrap();
        let [first, second] = names.map(|name| self.take(name).data);
        let pieces = first.chunks(length).zip(second.chunks(length));
        let data = pieces.flat_map(|(first, second)| [first, second].concat());
        self.tensors.push(Tensor {
            name: new.to_owned(),
            shape: shape.to_vec(),
            data: data.collect(),
        });
    }

    /// Appends rows to a tensor.
    pub(super) fn lengthen(&mut self, name: &str, n_rows: u64) {
        let mut tensors = self.tensors.iter_mut();
        let tensor = tensors.find(|tensor| tensor.name == name).unwrap();
        let n = usize::try_from(tensor.shape[0] * n_rows).unwrap();
        tensor.shape[1] += n_rows;
        tensor.data.resize(tensor.data.len() + n, 0.5);
    }

    /// The elements of a key with a list.
    pub(super) fn list(&mut self, key: &str) -> &mut Vec<Value> {
        self.keys[key].as_array_mut().unwrap()
    }

    /// Adds tensors of encoders and draft layers, which the translation leaves out.
    pub(super) fn add_others(&mut self, prefixes: &[&str]) {
        for prefix in prefixes {
            self.add(&format!("{prefix}blk.0.attn_q.weight"), &[32, 32]);
        }
    }

    /// The bytes, with the tensors in the order of their names, as Ollama writes them.
    pub(super) fn build(&self) -> Vec<u8> {
        let mut tensors: Vec<&Tensor> = self.tensors.iter().collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let builder = GgufBuilder::new(&self.architecture);
        let keys = self.keys.iter();
        let builder = keys.fold(builder, |file, (key, value)| file.value(key, value.clone()));
        let builder = tensors.iter().fold(builder, |file, tensor| {
            file.tensor(&tensor.name, "F32", &tensor.shape)
        });
        let mut bytes = builder.build();
        let (_, layout) = Metadata::read_with_layout(&mut Cursor::new(bytes.as_slice())).unwrap();
        for (tensor, place) in tensors.iter().zip(&layout.tensors) {
            let start = usize::try_from(place.data.start).unwrap();
            let data = tensor.data.iter().flat_map(|number| number.to_le_bytes());
            let places = bytes[start..].iter_mut();
            places.zip(data).for_each(|(place, byte)| *place = byte);
        }
        bytes
    }
}

/// The characters that stand for bytes in GPT-2's vocabulary.
fn letters() -> impl Iterator<Item = char> {
    let is_printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let others = (0..256_u32)
        .filter(move |byte| !is_printable(byte))
        .zip(256..);
    let others: Vec<(u32, u32)> = others.collect();
    (0..256_u32).map(move |byte| {
        let other = others.iter().find(|(known, _)| *known == byte);
        char::from_u32(other.map_or(byte, |(_, other)| *other)).unwrap()
    })
}
