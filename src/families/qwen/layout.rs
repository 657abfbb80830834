//! Files that Ollama converted: Qwen 2.5 VL, 3 VL, 3 Next and 3.5.

use crate::families::layout::{Clip, Edit, ForeignLayout, New, OPENAI_MEAN, OPENAI_STD, has_key};
use crate::model::gguf::{GgufError, Metadata};

pub(super) const QWEN25_VL: ForeignLayout = ForeignLayout {
    is_foreign: |_| true,
    weights: qwen25_vl,
    projector: Some(qwen25_vl_projector),
};

/// The layout of such a file after quantization.
pub(super) const QWEN2_VL: ForeignLayout = ForeignLayout {
    is_foreign: |metadata| metadata.has_tensor_prefix(&["v."]),
    ..QWEN25_VL
};

pub(super) const QWEN3_VL: ForeignLayout = ForeignLayout {
    is_foreign: |metadata| !has_key(metadata, &[SECTIONS]) || metadata.has_tensor_prefix(&["v."]),
    weights: qwen3_vl,
    projector: Some(qwen3_vl_projector),
};

pub(super) const QWEN3_NEXT: ForeignLayout = ForeignLayout {
    is_foreign: |metadata| {
        let mut tensors = metadata.tensors.iter();
        tensors.any(|tensor| tensor.name.ends_with(".ssm_dt"))
    },
    weights: |edit| {
        one_head_count(edit);
        name_ssm_bias(edit);
        Ok(())
    },
    ..ForeignLayout::PLAIN
};

pub(super) const QWEN35: ForeignLayout = ForeignLayout {
    is_foreign: is_foreign_qwen35,
    weights: qwen35,
    projector: Some(qwen35_projector),
};

/// How the rotary positions of time, height and width share a head.
const SECTIONS: &str = ".rope.dimension_sections";

fn is_foreign_qwen35(metadata: &Metadata) -> bool {
    let keys = [
        ".vision.block_count",
        ".image_token_id",
        ".ssm.v_head_reordered",
        ".rope.mrope_interleaved",
    ];
    let is_moe = metadata.architecture() == "qwen35moe";
    has_key(metadata, &keys)
        || metadata.has_tensor_prefix(&["mtp.", "v."])
        || is_moe && has_key(metadata, &[".feed_forward_length"])
}

/// llama.cpp expects four sections; text models use three.
fn four(mut sections: Vec<u32>) -> New {
    sections.truncate(3);
    sections.push(0);
    New::U32s(sections)
}

fn qwen25_vl(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    let sections = edit.numbers(".rope.mrope_section");
    edit.rename_architecture("qwen2vl");
    if sections.len() >= 3 {
        edit.set(SECTIONS, four(sections));
    }
    edit.hide(&["v.", "mm."]);
    Ok(())
}

fn qwen25_vl_projector(clip: &mut Clip<'_>) -> Result<(), GgufError> {
    clip.set_image_projector("qwen2.5vl_merger");
    clip.copy(&[
        "attention.head_count",
        "block_count",
        "embedding_length",
        "num_channels",
        "patch_size",
        "spatial_merge_size",
        "window_size",
    ])?;
    clip.epsilon_or(1e-6);
    clip.projects_to_text()?;
    let width = clip.edit.required_side("v.blk.0.ffn_up.weight", 1)?;
    clip.set("feed_forward_length", width);
    // One in every so many layers attends to the whole image.
    let whole = clip.edit.numbers(".vision.fullatt_block_indexes");
    let period = whole.first().map_or(8, |first| first.saturating_add(1));
    clip.set("n_wa_pattern", period);
    clip.set("image_size", 560);
    clip.colors(OPENAI_MEAN, OPENAI_STD);
    clip.uses_silu();
    clip.edit.rename_prefixes(&[
        ("v.merger.ln_q.", "v.post_ln."),
        ("v.merger.mlp.", "mm."),
        ("v.patch_embd_0.weight", "v.patch_embd.weight"),
        ("v.patch_embd_1.weight", "v.patch_embd.weight.1"),
    ]);
    clip.edit
        .make_f32(&["v.patch_embd.weight", "v.patch_embd.weight.1"])
}

fn qwen3_vl(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    if !edit.has(SECTIONS) {
        let keys = [".rope.mrope_section", ".rope.mrope_sections"];
        let known = keys.iter().map(|key| edit.numbers(key));
        let known = known.into_iter().find(|sections| sections.len() >= 3);
        edit.set(SECTIONS, four(known.unwrap_or_else(|| vec![24, 20, 20])));
    }
    let n_deepstack = edit.numbers(DEEPSTACK).len();
    edit.default(
        ".n_deepstack_layers",
        u32::try_from(n_deepstack).unwrap_or(0),
    );
    edit.hide(&["v.", "mm."]);
    Ok(())
}

/// Layers of the image encoder whose output the text model gets in addition.
const DEEPSTACK: &str = ".vision.deepstack_visual_indexes";

fn qwen3_vl_projector(clip: &mut Clip<'_>) -> Result<(), GgufError> {
    let side = clip.square_side("v.pos_embed.weight")?;
    let indexes = clip.edit.numbers(DEEPSTACK);
    clip.epsilon_or(1e-6);
    clip.colors_or([0.5; 3], [0.5; 3]);
    qwen3_projector(clip, &indexes)?;
    let patch = clip.edit.required(".vision.patch_size")?;
    clip.set("image_size", side.saturating_mul(patch));
    Ok(())
}

fn qwen35_projector(clip: &mut Clip<'_>) -> Result<(), GgufError> {
    clip.set("attention.layer_norm_epsilon", 1e-6);
    clip.colors([0.5; 3], [0.5; 3]);
    clip.set("image_size", 768);
    qwen3_projector(clip, &[])
}

/// What Qwen 3 VL and 3.5 have in common.
fn qwen3_projector(clip: &mut Clip<'_>, deepstack: &[u32]) -> Result<(), GgufError> {
    clip.set_image_projector("qwen3vl_merger");
    clip.copy(&[
        "attention.head_count",
        "block_count",
        "embedding_length",
        "patch_size",
        "spatial_merge_size",
    ])?;
    clip.projects_to_text()?;
    let width = clip
        .edit
        .required_side("v.blk.0.mlp.linear_fc1.weight", 1)?;
    clip.set("feed_forward_length", width);
    let n_layers = clip.n_layers()?;
    let is_deep = (0..n_layers).map(|layer| deepstack.contains(&layer));
    clip.set("is_deepstack_layers", New::Bools(is_deep.collect()));
    clip.uses_gelu();
    for layer in 0..n_layers {
        for part in ["weight", "bias"] {
            let name = |which| format!("v.blk.{layer}.attn_{which}.{part}");
            let [q, k, v] = ["q", "k", "v"].map(name);
            clip.edit.join(&[&q, &k, &v], &name("qkv"))?;
        }
    }
    let patch = clip.edit.required(".vision.patch_size")?;
    let width = clip.edit.required(".vision.embedding_length")?;
    split_times(clip, patch.into(), width.into())?;
    clip.edit.rename_parts(&[
        ("v.patch_embed.bias", "v.patch_embd.bias"),
        ("v.pos_embed.", "v.position_embd."),
        ("v.merger.norm.", "v.post_ln."),
        ("v.merger.linear_fc1.", "mm.0."),
        ("v.merger.linear_fc2.", "mm.2."),
        (".norm1.", ".ln1."),
        (".norm2.", ".ln2."),
        (".mlp.linear_fc1.", ".ffn_up."),
        (".mlp.linear_fc2.", ".ffn_down."),
    ]);
    for (number, layer) in deepstack.iter().enumerate() {
        let old = |part| format!("v.deepstack_merger.{number}.{part}.");
        let new = |part| format!("v.deepstack.{layer}.{part}.");
        for (from, to) in [
            ("norm", "norm"),
            ("linear_fc1", "fc1"),
            ("linear_fc2", "fc2"),
        ] {
            clip.edit.rename_prefixes(&[(&old(from), &new(to))]);
        }
    }
    clip.edit.make_f32(&[
        "v.position_embd.weight",
        "v.patch_embd.weight",
        "v.patch_embd.weight.1",
    ])
}

/// The patches of two images in time are in one tensor [patch, patch, 2, 3 · width]; llama.cpp wants two tensors
/// [patch, patch, 3, width].
fn split_times(clip: &mut Clip<'_>, patch: u64, width: u64) -> Result<(), GgufError> {
    let Some(joined) = clip.edit.take("v.patch_embed.weight") else {
        return Ok(());
    };
    let area = patch.saturating_mul(patch);
    for (time, name) in [(0, "v.patch_embd.weight"), (1, "v.patch_embd.weight.1")] {
        let mut tensor = joined.clone();
        name.clone_into(&mut tensor.name);
        let steps = [(width.saturating_mul(3), area.saturating_mul(2))];
        tensor.rearrange(time * area, area, &steps, vec![patch, patch, 3, width])?;
        clip.edit.add(tensor);
    }
    Ok(())
}

fn qwen35(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    one_head_count(edit);
    let sections = edit.numbers(SECTIONS);
    if sections.len() == 3 {
        edit.set(SECTIONS, four(sections));
    }
    name_ssm_bias(edit);
    // The answers are the same without the draft layers.
    edit.hide(&["v.", "mm.", "mtp."]);
    Ok(())
}

/// Replaces a list with a number of KV heads for each layer by the number that the attention layers have.
fn one_head_count(edit: &mut Edit<'_>) {
    const KEY: &str = ".attention.head_count_kv";
    let counts = edit.numbers(KEY);
    if counts.len() > 1 {
        let most = counts.into_iter().max().filter(|most| *most > 0);
        edit.replace_list(KEY, most.unwrap_or(2));
    }
}

fn name_ssm_bias(edit: &mut Edit<'_>) {
    for tensor in &mut edit.tensors {
        if tensor.name.ends_with(".ssm_dt") {
            tensor.name.push_str(".bias");
        }
    }
    edit.touch();
}
