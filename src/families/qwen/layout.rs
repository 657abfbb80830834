//! Files that Ollama converted for its own engine.

use crate::families::layout::has_key;
use crate::model::gguf::Metadata;

pub(super) fn qwen3_vl(metadata: &Metadata) -> Option<&'static str> {
    let has_sections = has_key(metadata, &[".rope.dimension_sections"]);
    (!has_sections).then_some("no `rope.dimension_sections`")
}

pub(super) fn qwen3_next(metadata: &Metadata) -> Option<&'static str> {
    let mut tensors = metadata.tensors.iter();
    let is_foreign = tensors.any(|tensor| tensor.name.ends_with(".ssm_dt"));
    is_foreign.then_some("other tensor names")
}

pub(super) fn qwen35(metadata: &Metadata) -> Option<&'static str> {
    let keys = [
        ".vision.block_count",
        ".image_token_id",
        ".ssm.v_head_reordered",
        ".rope.mrope_interleaved",
    ];
    let is_moe = metadata.architecture() == "qwen35moe";
    let is_foreign = has_key(metadata, &keys)
        || metadata.has_tensor_prefix(&["mtp.", "v."])
        || is_moe && has_key(metadata, &[".feed_forward_length"]);
    is_foreign.then_some("other key and tensor names")
}
