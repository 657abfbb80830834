//! Files that Ollama converted.

use crate::families::layout::{Edit, ForeignLayout, has_key};
use crate::model::gguf::{GgufError, Metadata};

pub(super) const LAYOUT: ForeignLayout = ForeignLayout {
    is_foreign,
    weights,
    ..ForeignLayout::PLAIN
};

fn is_foreign(metadata: &Metadata) -> bool {
    has_key(
        metadata,
        &[".rope.swa.dimension_count", ".rope.swa.freq_base"],
    ) || metadata.tensor("blk.0.attn_g.weight").is_some()
}

fn weights(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    edit.rename(".rope.swa.dimension_count", ".rope.dimension_count_swa");
    edit.rename(".rope.swa.freq_base", ".rope.freq_base_swa");
    edit.rename_parts(&[(".attn_g.", ".attn_gate.")]);
    Ok(())
}
