//! Gemma 2, 3 and 3n, and their embedding model. Their templates say all there is to know of their
//! prompts.

use super::family::{Architecture, Family, TensorRule};
use super::layout::{VISION, has_key, has_towers};
use crate::model::gguf::Metadata;

pub(super) static FAMILY: Family = Family {
    architectures: &[
        Architecture {
            name: "gemma2",
            window_period: 2,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "gemma3",
            foreign_layout: gemma3_layout,
            window_period: 6,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "gemma-embedding",
            window_period: 6,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "gemma3n",
            foreign_layout: |metadata| {
                has_cut_vocabulary(metadata)
                    .then_some("a vocabulary longer than the per-layer embedding")
            },
            quantization: Some(TensorRule {
                tensors: &["per_layer_token_embd.weight"],
                kind: "F16",
            }),
            ..Architecture::PLAIN
        },
    ],
    mute_projectors: &["gemma3nv"],
    ..Family::PLAIN
};

fn gemma3_layout(metadata: &Metadata) -> Option<&'static str> {
    if metadata.tensor("dense.0.weight").is_some() {
        return Some("an embedding model under a chat model's name");
    }
    if has_towers(metadata) {
        return Some(VISION);
    }
    let keys = [
        ".mm.tokens_per_image",
        ".rope.global.freq_base",
        ".rope.local.freq_base",
        "tokenizer.ggml.add_padding_token",
        "tokenizer.ggml.add_unknown_token",
    ];
    let has_epsilon = has_key(metadata, &[".attention.layer_norm_rms_epsilon"]);
    (has_key(metadata, &keys) || !has_epsilon).then_some("other key names")
}

fn has_cut_vocabulary(metadata: &Metadata) -> bool {
    let rows = |name| {
        metadata
            .tensor(name)
            .and_then(|tensor| tensor.shape.get(1).copied())
    };
    match (
        rows("token_embd.weight"),
        rows("per_layer_token_embd.weight"),
    ) {
        (Some(tokens), Some(per_layer)) => tokens != per_layer,
        _ => false,
    }
}
