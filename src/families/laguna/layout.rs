//! Files that Ollama converted.

use crate::families::layout::{Edit, ForeignLayout, has_key};
use crate::model::gguf::{GgufError, Metadata, Value};

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

/// Whether the gate of each layer's attention has a row for each head, or for each dimension of the heads.
pub(super) fn gates_fit(header: &Metadata) -> bool {
    let heads = match header.get(".attention.head_count") {
        Some(Value::Numbers(numbers)) => numbers.iter().map(|n| n.as_u64()).collect(),
        Some(number) => vec![number.as_u64()],
        None => Vec::new(),
    };
    let width = header.number(".embedding_length").unwrap_or_default();
    let length = header
        .number(".attention.key_length")
        .filter(|length| *length > 0);
    let fits = |block: usize, n_rows: u64| {
        let n_head = heads
            .get(block)
            .or(heads.first())
            .copied()
            .flatten()
            .unwrap_or_default();
        let length = length.or(width.checked_div(n_head)).unwrap_or_default();
        n_rows == n_head || Some(n_rows) == n_head.checked_mul(length)
    };
    let mut gates = header.tensors.iter().filter_map(|tensor| {
        let block = tensor
            .name
            .strip_prefix("blk.")?
            .strip_suffix(".attn_gate.weight")?;
        Some((
            block.parse().ok()?,
            tensor.shape.get(1).copied().unwrap_or(1),
        ))
    });
    gates.all(|(block, n_rows)| fits(block, n_rows))
}
