//! Makes the scheduler's description of a runner from a stored model.

#[cfg(any(test, fuzzing))]
use std::path::Path;
#[cfg(any(test, fuzzing))]
use std::sync::Arc;

use super::files::Weights;
use super::prepare::Prepared;
use crate::families;
#[cfg(any(test, fuzzing))]
use crate::families::layout::Loadable;
use crate::model::Options;
use crate::model::capability::Capability;
use crate::model::gguf::{Metadata, Value};
#[cfg(any(test, fuzzing))]
use crate::model::{ModelName, gguf};
use crate::protocol::{Adapter, ProjectorParams, Token};
use crate::scheduler::{DraftSpec, ModelDims, ModelSpec};

/// Describes the runner that a request needs.
pub(super) fn build(prepared: &Prepared, options: &Options) -> ModelSpec {
    let model = &prepared.model;
    ModelSpec {
        name: model.name.clone(),
        digest: model.digest.clone(),
        weights: prepared.weights.loadable.file.clone(),
        end_tokens: end_tokens(&prepared.weights.loadable.metadata),
        projector: prepared.projector.as_ref().map(|projector| {
            let architecture = prepared.weights.loadable.metadata.architecture();
            ProjectorParams {
                file: projector.file.clone(),
                min_image_tokens: families::min_image_tokens(architecture),
            }
        }),
        adapters: model
            .adapters
            .iter()
            .map(|path| Adapter {
                path: path.clone(),
                scale: 1.0,
            })
            .collect(),
        embedding: prepared.has(Capability::Embedding),
        options: load_options(options, &prepared.weights),
        dims: dims(&prepared.weights, prepared.projector_bytes()),
        is_job: false,
        origin: "".into(),
        draft: prepared.draft.as_ref().map(|draft| DraftSpec {
            weights: draft.loadable.file.clone(),
            dims: dims(draft, 0),
        }),
    }
}

/// Normalizes the options that matter for loading, so that numbers beyond the limits do not need a
/// different runner than the limits themselves.
fn load_options(options: &Options, weights: &Weights) -> Options {
    let n_layer = i32::try_from(weights.numbers.n_head_kv.len()).unwrap_or(i32::MAX - 1);
    Options {
        // One more than the number of layers, for the output layer.
        num_gpu: options.num_gpu.clamp(-1, n_layer + 1),
        main_gpu: options.main_gpu.filter(|index| *index >= 0),
        ..options.clone()
    }
}

/// The tokens that end an answer according to an Ollama key that llama.cpp does not read.
fn end_tokens(metadata: &Metadata) -> Vec<Token> {
    /// No model has more than a few.
    const MOST: usize = 32;
    let Some(Value::Numbers(ids)) = metadata.get("tokenizer.ggml.eos_token_ids") else {
        return Vec::new();
    };
    let ids = ids
        .iter()
        .filter_map(|id| Token::try_from(id.as_u64()?).ok());
    ids.take(MOST).collect()
}

/// The dimensions for the memory estimate; `other_bytes` are loaded in addition to the weights.
fn dims(weights: &Weights, other_bytes: u64) -> ModelDims {
    let (numbers, metadata) = (&weights.numbers, &weights.loadable.metadata);
    ModelDims {
        window_period: families::window_period(metadata.architecture()),
        file_bytes: metadata.file_size.saturating_add(other_bytes),
        n_head_kv: numbers.n_head_kv.clone(),
        head_dim_k: numbers.head_dim_k,
        head_dim_v: numbers.head_dim_v,
        n_embd: numbers.n_embd,
        n_vocab: numbers.n_vocab,
        n_ctx_train: numbers.n_ctx_train,
        sliding_window: numbers.sliding_window,
        expert_bytes: metadata.bytes_of(|name| name.contains("_exps.")),
    }
}

/// For fuzzing: goes from a file's header to the placement of its model; returns the cells of the pools.
///
/// # Errors
/// The header's numbers are not valid.
#[cfg(any(test, fuzzing))]
pub fn place_header(metadata: Metadata) -> Result<Vec<u32>, gguf::GgufError> {
    let weights = Weights::new(Loadable::original(Path::new(""), Arc::new(metadata)))?;
    let spec = ModelSpec {
        name: ModelName {
            host: String::new(),
            namespace: String::new(),
            model: String::new(),
            tag: String::new(),
        },
        digest: String::new(),
        weights: weights.loadable.file.clone(),
        end_tokens: Vec::new(),
        projector: None,
        adapters: Vec::new(),
        embedding: false,
        options: load_options(&Options::default(), &weights),
        dims: dims(&weights, 1 << 30),
        is_job: false,
        origin: "".into(),
        draft: None,
    };
    Ok(crate::scheduler::place_everywhere(&spec))
}
