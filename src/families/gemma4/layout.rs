//! Files that Ollama converted, with the image and audio encoders among the weights.

use crate::families::layout::{Clip, Edit, ForeignLayout, has_towers};
use crate::model::gguf::{GgufError, Metadata};

pub(super) const LAYOUT: ForeignLayout = ForeignLayout {
    is_foreign,
    weights,
    projector: Some(projector),
};

const TOKENIZER: &str = "tokenizer.ggml.model";

fn is_foreign(metadata: &Metadata) -> bool {
    has_towers(metadata)
        || metadata.has_tensor_prefix(&["a.", "model.vision_tower."])
        || metadata.string(TOKENIZER) == Some("llama")
}

fn weights(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    if edit.original().string(TOKENIZER) == Some("llama") {
        edit.set(TOKENIZER, "gemma4");
    }
    edit.hide(&["a.", "v.", "mm.", "model.vision_tower."]);
    edit.rename_parts(&[(".ffn_gate_inp.per_expert_scale", ".ffn_down_exps.scale")]);
    Ok(())
}

fn projector(clip: &mut Clip<'_>) -> Result<(), GgufError> {
    const SHARED: [&str; 4] = [
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
    ];
    clip.set_image_projector("gemma4v");
    clip.copy(&SHARED)?;
    clip.copy(&["patch_size"])?;
    clip.epsilon_or(1e-6);
    clip.projects_to_text()?;
    clip.set("image_size", 224);
    clip.colors([0.0; 3], [1.0; 3]);
    clip.edit.make_f32(&["v.patch_embd.weight"])?;
    expand_clamps(clip)?;
    if clip
        .edit
        .tensors
        .iter()
        .any(|tensor| tensor.name.starts_with("a."))
    {
        clip.set_audio_projector("gemma4a");
        clip.copy_from("audio", "audio", &SHARED)?;
        let epsilon = clip.edit.float(".audio.attention.layer_norm_epsilon");
        let epsilon = epsilon.unwrap_or(1e-6);
        clip.edit
            .set("clip.audio.attention.layer_norm_epsilon", epsilon);
        clip.edit.set("clip.audio.num_mel_bins", 128);
        let width = clip.edit.required(".embedding_length")?;
        clip.edit.set("clip.audio.projection_dim", width);
        rename_audio(&mut clip.edit);
    }
    Ok(())
}

fn rename_audio(edit: &mut Edit<'_>) {
    // The order matters: some new names are old names of other tensors.
    edit.rename_prefixes(&[("a.pre_encode.out.weight", "a.input_projection.weight")]);
    edit.rename_prefixes(&[("mm.a.fc.", "a.pre_encode.out.")]);
    for tensor in &mut edit.tensors {
        let Some((block, part)) = block_and_part(&tensor.name) else {
            continue;
        };
        let renamed = |old: &str, new: &str| {
            let rest = part.strip_prefix(old)?.strip_prefix('.')?;
            Some(format!("{block}{new}.{rest}"))
        };
        let name = renamed("ln1", "attn_pre_norm")
            .or_else(|| renamed("ln2", "attn_post_norm"))
            .or_else(|| renamed("layer_pre_norm", "ln2"))
            .or_else(|| renamed("linear_pos", "attn_k_rel"));
        if let Some(name) = name {
            tensor.name = name;
        }
    }
}

/// Cuts `a.blk.7.ln1.weight` after the number.
fn block_and_part(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix("a.blk.")?;
    let digits = rest.find('.')?;
    Some(name.split_at("a.blk.".len() + digits + 1))
}

/// Some files keep the bounds of all linear layers in one list: for each layer its query, key, value, output, gate, up
/// and down projection, then the projector, four numbers each. llama.cpp wants a tensor for each number.
fn expand_clamps(clip: &mut Clip<'_>) -> Result<(), GgufError> {
    const LINEAR: [&str; 7] = [
        "attn_q", "attn_k", "attn_v", "attn_out", "ffn_gate", "ffn_up", "ffn_down",
    ];
    const BOUNDS: [&str; 4] = ["input_min", "input_max", "output_min", "output_max"];
    let Some(packed) = clip.edit.take("v.clamp_data") else {
        return Ok(());
    };
    let n_layers = clip.n_layers()?;
    let layers = (0..n_layers).flat_map(|layer| LINEAR.map(|part| format!("v.blk.{layer}.{part}")));
    let linear = layers.chain(["mm.input_projection".to_owned()]);
    let names = linear.flat_map(|name| BOUNDS.map(|bound| format!("{name}.{bound}")));
    for (index, name) in (0..).zip(names) {
        let mut number = packed.clone();
        number.rearrange(index, 1, &[], vec![1])?;
        number.name = name;
        number.make_f32()?;
        clip.edit.add(number);
    }
    Ok(())
}
