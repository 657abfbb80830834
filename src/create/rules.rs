//! Types of individual tensors that Ollama chooses instead of llama.cpp's quantizer.

use crate::families;
use crate::model::gguf::{Metadata, TensorInfo};
use crate::protocol::TensorType;

/// Encoders and draft layers inside the model's file, which are not changed.
const EMBEDDED: [&str; 5] = ["a.", "mm.", "mtp.", "s.", "v."];

/// The tensors of a model that get a different type than llama.cpp would choose for this file type.
pub(super) fn tensor_types(header: &Metadata, file_type: &str) -> Vec<TensorType> {
    let architecture = families::architecture(header.architecture());
    let rule = architecture.and_then(|architecture| architecture.quantization.as_ref());
    let rule = rule.filter(|_| file_type.starts_with("Q4_K"));
    let kind = |tensor: &TensorInfo| {
        if EMBEDDED.iter().any(|start| tensor.name.starts_with(start)) {
            return Some(tensor.kind);
        }
        let rule = rule?;
        let applies = rule.tensors.contains(&without_block(&tensor.name));
        applies.then_some(rule.kind)
    };
    let types = header.tensors.iter().filter_map(|tensor| {
        Some(TensorType {
            name: tensor.name.clone(),
            code: TensorInfo::code(kind(tensor)?)?,
        })
    });
    types.collect()
}

/// `attn_q.weight` of `blk.3.attn_q.weight`.
fn without_block(name: &str) -> &str {
    let below = name
        .strip_prefix("blk.")
        .and_then(|rest| rest.split_once('.'));
    below.map_or(name, |(_, name)| name)
}
