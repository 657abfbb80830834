//! Files that Ollama converted: GLM 4.7 Flash, and GLM-OCR with its image encoder.

use crate::families::layout::{
    Clip, Edit, ForeignLayout, New, OPENAI_MEAN, OPENAI_STD, has_towers,
};
use crate::model::gguf::GgufError;

pub(super) const MOE_LITE: ForeignLayout = ForeignLayout {
    is_foreign: |_| true,
    weights: moe_lite,
    ..ForeignLayout::PLAIN
};

pub(super) const OCR: ForeignLayout = ForeignLayout {
    is_foreign: |_| true,
    weights: ocr,
    projector: Some(ocr_projector),
};

/// The layout of such a file after quantization.
pub(super) const QUANTIZED_OCR: ForeignLayout = ForeignLayout {
    is_foreign: has_towers,
    ..OCR
};

const ENDS: &str = "tokenizer.ggml.eos_token_ids";

/// llama.cpp computes it as `DeepSeek` 2, with compressed keys and values.
fn moe_lite(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    let rank = edit.required(".attention.kv_lora_rank")?;
    let rotated = edit.required(".rope.dimension_count")?;
    let head = edit.required(".attention.key_length")?;
    edit.rename_architecture("deepseek2");
    edit.replace_list(".attention.head_count_kv", 1);
    edit.set(".attention.key_length", rank.saturating_add(rotated));
    edit.set(".attention.value_length", rank);
    edit.set(".attention.key_length_mla", head);
    edit.set(".attention.value_length_mla", head);
    edit.default(".expert_group_count", 1);
    edit.default(".expert_group_used_count", 1);
    edit.set("tokenizer.ggml.pre", "glm4");
    let ends = edit.numbers(ENDS);
    for (index, key) in [(1, "eot"), (2, "eom")] {
        if let Some(id) = ends.get(index) {
            edit.default(&format!("tokenizer.ggml.{key}_token_id"), *id);
        }
    }
    Ok(())
}

fn ocr(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    let mut sections = edit.numbers(".rope.mrope_section");
    edit.rename_architecture("glm4");
    if sections.len() == 3 {
        sections.push(0);
    }
    if sections.len() == 4 {
        edit.set(".rope.dimension_sections", New::U32s(sections));
    }
    if let Some(head) = edit.number(".attention.key_length") {
        edit.default(".rope.dimension_count", head);
    }
    const PRE: &str = "tokenizer.ggml.pre";
    if edit.has(PRE) {
        edit.set(PRE, "chatglm-bpe");
    }
    edit.hide(&["v.", "mm."]);
    edit.rename_parts(&[
        (".attn_out.", ".attn_output."),
        (".post_attn_norm.", ".post_attention_norm."),
        (".post_ffn_norm.", ".post_ffw_norm."),
    ]);
    for layer in 0..edit.n_layers()? {
        let name = |part| format!("blk.{layer}.{part}.weight");
        let (gate, up) = (name("ffn_gate"), name("ffn_up"));
        edit.join(&[&gate, &up], &up)?;
    }
    Ok(())
}

fn ocr_projector(clip: &mut Clip<'_>) -> Result<(), GgufError> {
    clip.set_image_projector("glm4v");
    clip.copy(&[
        "block_count",
        "embedding_length",
        "attention.head_count",
        "image_size",
        "patch_size",
        "spatial_merge_size",
    ])?;
    let width = clip.edit.required(".vision.intermediate_size")?;
    clip.set("feed_forward_length", width);
    let epsilon = clip.edit.float(".vision.attention.layer_norm_rms_epsilon");
    clip.set("attention.layer_norm_epsilon", epsilon.unwrap_or(1e-5));
    let width = clip.edit.required(".vision.out_hidden_size")?;
    clip.set("projection_dim", width);
    clip.colors_or(OPENAI_MEAN, OPENAI_STD);
    clip.uses_silu();
    clip.edit.rename_prefixes(&[
        ("v.patch_embd_0.weight", "v.patch_embd.weight"),
        ("v.patch_embd_1.weight", "v.patch_embd.weight.1"),
    ]);
    clip.edit
        .make_f32(&["v.patch_embd.weight", "v.patch_embd.weight.1"])
}
