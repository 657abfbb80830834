//! DeepSeek-OCR as Ollama converted it, with its two image encoders.

use crate::families::layout::{Clip, Edit, ForeignLayout};
use crate::model::gguf::GgufError;

pub(super) const OCR: ForeignLayout = ForeignLayout {
    is_foreign: |_| true,
    weights,
    projector: Some(projector),
};

/// The layout of such a file after quantization.
pub(super) const QUANTIZED_OCR: ForeignLayout = ForeignLayout {
    is_foreign: |metadata| metadata.has_tensor_prefix(&["s.", "v."]),
    ..OCR
};

fn weights(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    edit.rename_architecture("deepseek2-ocr");
    edit.default(".attention.layer_norm_rms_epsilon", 1e-6);
    if !edit.has(".expert_feed_forward_length") {
        let width = edit.required_side("blk.1.ffn_down_exps.weight", 0)?;
        edit.set(".expert_feed_forward_length", width);
    }
    if !edit.has(".expert_shared_count") {
        let one = edit.required_side("blk.1.ffn_down_exps.weight", 0)?;
        let all = edit.required_side("blk.1.ffn_down_shexp.weight", 0)?;
        edit.set(".expert_shared_count", all.checked_div(one).unwrap_or(0));
    }
    edit.hide(&["s.", "v.", "mm."]);
    Ok(())
}

fn projector(clip: &mut Clip<'_>) -> Result<(), GgufError> {
    clip.set_image_projector("deepseekocr");
    clip.copy(&[
        "block_count",
        "embedding_length",
        "image_size",
        "patch_size",
    ])?;
    let n_head = clip.edit.required(".vision.head_count")?;
    clip.set("attention.head_count", n_head);
    for key in ["block_count", "embedding_length", "head_count"] {
        let number = clip.edit.required(&format!(".sam.{key}"))?;
        clip.set(&format!("sam.{key}"), number);
    }
    clip.set("feed_forward_length", 64);
    clip.set("projection_dim", 1280);
    clip.set("projector.scale_factor", 1);
    clip.set("window_size", 14);
    clip.set("attention.layer_norm_epsilon", 1e-6);
    clip.colors([0.5; 3], [0.5; 3]);
    clip.uses_gelu();
    clip.edit.rename_prefixes(&[("s.", "v.sam.")]);
    clip.edit.rename_prefixes(&[
        ("v.sam.position_embd", "v.sam.pos_embd.weight"),
        ("mm.layers", "mm.model.fc"),
        ("mm.image_newline", "v.image_newline"),
        // The tensor's name is misspelled in these files.
        ("mm.view_seperator", "v.view_seperator"),
        ("v.pre_layrnorm", "v.pre_ln"),
    ]);
    for tensor in &mut clip.edit.tensors {
        let is_sam = tensor.name.starts_with("v.sam.");
        let is_relative = [".attn.rel_pos_h", ".attn.rel_pos_w"]
            .iter()
            .any(|part| tensor.name.ends_with(part));
        if is_sam && is_relative {
            tensor.name.push_str(".weight");
        }
        for (old, new, only_sam) in [
            (".self_attn.out_proj.", ".attn_out.", false),
            (".self_attn.qkv_proj.", ".attn_qkv.", false),
            (".layer_norm1.", ".ln1.", false),
            (".layer_norm2.", ".ln2.", false),
            (".mlp.fc1.", ".ffn_up.", false),
            (".mlp.fc2.", ".ffn_down.", false),
            (".attn.proj.", ".attn.out.", true),
            (".attn.rel_pos_h.", ".attn.pos_h.", true),
            (".attn.rel_pos_w.", ".attn.pos_w.", true),
            (".norm1.", ".pre_ln.", true),
            (".norm2.", ".post_ln.", true),
        ] {
            if is_sam || !only_sam {
                tensor.name = tensor.name.replace(old, new);
            }
        }
    }
    clip.edit
        .rename_prefixes(&[("v.sam.pos_embd.weight.weight", "v.sam.pos_embd.weight")]);
    clip.edit.make_f32(&[
        "v.patch_embd.weight",
        "v.sam.patch_embd.weight",
        "v.position_embd.weight",
    ])
}
