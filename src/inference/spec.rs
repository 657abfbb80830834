//! From a stored model to what the scheduler loads.

use super::prepare::Prepared;
use crate::model::capability::Capability;
use crate::model::{Options, gguf};
use crate::protocol::Adapter;
use crate::scheduler::{DraftSpec, ModelDims, ModelSpec};

/// Describes the runner that a request needs.
pub(super) fn build(prepared: &Prepared, options: &Options) -> ModelSpec {
    let model = &prepared.model;
    ModelSpec {
        name: model.name.clone(),
        digest: model.digest.clone(),
        weights: model.weights.clone().unwrap_or_default(),
        projectors: model.projectors.clone(),
        adapters: model
            .adapters
            .iter()
            .map(|path| Adapter {
                path: path.clone(),
                scale: 1.0,
            })
            .collect(),
        embedding: prepared.has(Capability::Embedding),
        options: options.clone(),
        dims: dims(&prepared.metadata, prepared.projector_bytes),
        draft: prepared.draft.as_ref().map(|(path, metadata)| DraftSpec {
            weights: path.clone(),
            dims: dims(metadata, 0),
        }),
    }
}

/// Reads the dimensions that the memory estimate needs; unknown ones are 0.
fn dims(metadata: &gguf::Metadata, projector_bytes: u64) -> ModelDims {
    let number = |key: &str| -> u32 {
        metadata
            .number(key)
            .and_then(|value| u32::try_from(value).ok())
            .unwrap_or_default()
    };
    let n_embd = number(".embedding_length");
    let n_head = number(".attention.head_count").max(1);
    let head_dim = n_embd / n_head;
    let or = |value: u32, default: u32| if value == 0 { default } else { value };
    ModelDims {
        architecture: metadata.architecture().to_owned(),
        file_bytes: metadata.file_size.saturating_add(projector_bytes),
        n_layer: number(".block_count"),
        n_head_kv: heads(metadata, n_head),
        head_dim_k: or(number(".attention.key_length"), head_dim),
        head_dim_v: or(number(".attention.value_length"), head_dim),
        n_embd,
        n_vocab: metadata
            .get("tokenizer.ggml.tokens")
            .and_then(serde_json::Value::as_array)
            .and_then(|tokens| u32::try_from(tokens.len()).ok())
            .unwrap_or_default(),
        n_ctx_train: number(".context_length"),
        sliding_window: number(".attention.sliding_window"),
    }
}

/// KV heads: one number, or one for each layer.
fn heads(metadata: &gguf::Metadata, n_head: u32) -> Vec<u32> {
    let to_u32 = |value: &serde_json::Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    match metadata.get(".attention.head_count_kv") {
        Some(serde_json::Value::Array(items)) => items.iter().filter_map(to_u32).collect(),
        Some(value) => vec![to_u32(value).unwrap_or(n_head)],
        None => vec![n_head],
    }
}
