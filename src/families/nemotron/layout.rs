//! Files that Ollama converted: Nemotron 3 with latent experts, and the omni model's image encoder.

use crate::families::layout::{Edit, ForeignLayout, has_towers};
use crate::model::gguf::{GgufError, Metadata};

pub(super) const MOE: ForeignLayout = ForeignLayout {
    is_foreign: has_other_names,
    weights: moe,
    ..ForeignLayout::PLAIN
};

pub(super) const OMNI: ForeignLayout = ForeignLayout {
    is_foreign: |metadata| has_towers(metadata) || metadata.has_tensor_prefix(&["a."]),
    weights: omni,
    ..ForeignLayout::PLAIN
};

const LATENT: &str = ".moe_latent_size";

fn has_other_names(metadata: &Metadata) -> bool {
    metadata.has_tensor_prefix(&["blk.0.ffn_latent_in", "blk.1.ffn_latent_in", "mtp."])
}

fn moe(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    let mut tensors = edit.tensors.iter();
    let latent = tensors.find(|tensor| tensor.name.ends_with(".ffn_latent_in.weight"));
    let width = latent.and_then(|tensor| u32::try_from(*tensor.shape.get(1)?).ok());
    if let Some(width) = width {
        edit.default(LATENT, width);
    }
    edit.rename_parts(&[
        (".ffn_latent_in.", ".ffn_latent_down."),
        (".ffn_latent_out.", ".ffn_latent_up."),
    ]);
    edit.hide(&["mtp."]);
    Ok(())
}

fn omni(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    let counts = [".expert_count", ".expert_used_count"].map(|key| edit.number(key));
    let has_experts = counts.iter().any(|count| count.unwrap_or(0) > 0);
    edit.rename_architecture(if has_experts {
        "nemotron_h_moe"
    } else {
        "nemotron_h"
    });
    edit.hide(&["a.", "v.", "mm."]);
    if has_experts { moe(edit) } else { Ok(()) }
}
