//! Files that Ollama converted: Mistral Small 3 and Ministral 3 with their image encoder.

use crate::families::layout::{Clip, Edit, ForeignLayout, has_key, has_towers};
use crate::model::gguf::{GgufError, Metadata};

pub(super) const LAYOUT: ForeignLayout = ForeignLayout {
    is_foreign,
    weights,
    projector: Some(projector),
};

fn is_foreign(metadata: &Metadata) -> bool {
    let keys = [
        ".rope.scaling.beta_fast",
        ".rope.scaling.mscale_all_dim",
        ".rope.scaling_beta",
    ];
    has_towers(metadata) || has_key(metadata, &keys)
}

fn weights(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    edit.rename(".rope.scaling.beta_fast", ".rope.scaling.yarn_beta_fast");
    edit.rename(".rope.scaling.beta_slow", ".rope.scaling.yarn_beta_slow");
    edit.rename(
        ".rope.scaling.mscale_all_dim",
        ".rope.scaling.yarn_log_multiplier",
    );
    edit.rename(".rope.scaling_beta", ".attention.temperature_scale");
    // Ollama's converter wrote an empty value, which makes llama.cpp abort.
    const SCALING: &str = ".rope.scaling.type";
    if edit.original().string(SCALING).is_some_and(str::is_empty) {
        edit.remove(SCALING);
    }
    edit.default_pre("tekken");
    edit.hide(&["v.", "mm."]);
    Ok(())
}

/// Mean and spread of colors, with the digits of Mistral's own configuration.
const MEAN: [f32; 3] = [0.481_454_67, 0.457_827_5, 0.408_210_72];
const STD: [f32; 3] = [0.268_629_55, 0.261_302_6, 0.275_777_1];

/// The token that ends a row of an image.
const IMAGE_BREAK: &[u8] = b"[IMG_BREAK]";

fn projector(clip: &mut Clip<'_>) -> Result<(), GgufError> {
    clip.set_image_projector("pixtral");
    clip.copy(&[
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "image_size",
        "patch_size",
        "num_channels",
    ])?;
    let merge = clip.edit.number(".spatial_merge_size").unwrap_or(2);
    clip.set("spatial_merge_size", merge);
    clip.set("attention.layer_norm_epsilon", 1e-5);
    clip.projects_to_text()?;
    clip.colors(MEAN, STD);
    clip.uses_silu();
    clip.edit.rename_parts(&[
        ("v.patch_conv.", "v.patch_embd."),
        ("v.encoder_norm.", "v.pre_ln."),
        (".attn_norm.", ".ln1."),
        (".ffn_norm.", ".ln2."),
        (".attn_output.", ".attn_out."),
        ("mm.linear_1.", "mm.1."),
        ("mm.linear_2.", "mm.2."),
        ("mm.norm.", "mm.input_norm."),
        ("mm.patch_merger.merging_layer.", "mm.patch_merger."),
    ]);
    clip.edit.make_f32(&["v.patch_embd.weight"])?;
    let n_head = clip.edit.required(".vision.attention.head_count")?;
    for tensor in &mut clip.edit.tensors {
        let is_rotated =
            tensor.name.ends_with(".attn_q.weight") || tensor.name.ends_with(".attn_k.weight");
        if is_rotated && tensor.name.starts_with("v.blk.") {
            Clip::interleave_heads(tensor, n_head)?;
        }
    }
    clip.add_token_row(IMAGE_BREAK, "v.token_embd.img_break")
}
