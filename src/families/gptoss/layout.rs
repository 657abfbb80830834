//! Files that Ollama converted, of all three generations.
//!
//! The first (August 2025) has the experts' gate and up projections in one tensor with interleaved rows, MXFP4 under a
//! type number that ggml has retired, with a different pairing of values in a byte, and biases in BF16.

use crate::families::layout::{Edit, ForeignLayout};
use crate::model::gguf::GgufError;

pub(super) const LAYOUT: ForeignLayout = ForeignLayout {
    is_foreign: |_| true,
    weights,
    ..ForeignLayout::PLAIN
};

fn weights(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    edit.rename_architecture("gpt-oss");
    edit.rename_parts(&[
        (".attn_out.", ".attn_output."),
        (".ffn_norm.", ".post_attention_norm."),
    ]);
    for tensor in &mut edit.tensors {
        if tensor.name.ends_with(".attn_sinks") {
            tensor.name.push_str(".weight");
        }
    }
    split_experts(edit)?;
    for tensor in &mut edit.tensors {
        tensor.modernise_mxfp4();
        if tensor.name.ends_with("_exps.bias") {
            tensor.make_f32()?;
        }
    }
    if !edit.has(".expert_feed_forward_length") {
        let width = edit.required_side("blk.0.ffn_gate_exps.weight", 1)?;
        edit.set(".expert_feed_forward_length", width);
    }
    edit.default(".rope.scaling.type", "yarn");
    edit.set("tokenizer.ggml.pre", "gpt-4o");
    Ok(())
}

/// Splits each joined tensor: the even rows are the gate, the odd ones the up projection.
fn split_experts(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    let is_joined = |name: &str| name.contains(".ffn_gate_up_exps.");
    let names = edit.tensors.iter().map(|tensor| tensor.name.clone());
    let names: Vec<String> = names.filter(|name| is_joined(name)).collect();
    for name in names {
        let Some(joined) = edit.take(&name) else {
            continue;
        };
        // Weights are [width, rows, experts], biases [rows, experts].
        let (length, rest) = match joined.shape.as_slice() {
            [width, n_rows, n_experts] => (*width, [*n_rows, *n_experts]),
            [n_rows, n_experts] => (1, [*n_rows, *n_experts]),
            _ => continue,
        };
        let [n_rows, n_experts] = rest;
        let mut shape = joined.shape.clone();
        let rows_at = shape.len() - 2;
        shape[rows_at] = n_rows / 2;
        let n_pieces = (n_rows / 2).saturating_mul(n_experts);
        for (skipped, part) in [(0, ".ffn_gate_exps."), (length, ".ffn_up_exps.")] {
            let mut half = joined.clone();
            half.name = name.replace(".ffn_gate_up_exps.", part);
            let steps = [(n_pieces, 2 * length)];
            half.rearrange(skipped, length, &steps, shape.clone())?;
            edit.add(half);
        }
    }
    Ok(())
}
