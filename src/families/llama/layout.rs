//! Files that Ollama converted: the vocabulary of Llama 3, and Llama 4 with its image encoder.

use crate::families::layout::{Clip, Edit, ForeignLayout, has_towers};
use crate::model::gguf::{GgufError, Metadata};

/// Early files of Llama 3 do not name the tokenizer, or have the wrong end token.
pub(super) const LLAMA: ForeignLayout = ForeignLayout {
    is_foreign: may_be_early_llama3,
    weights: llama3,
    ..ForeignLayout::PLAIN
};

pub(super) const LLAMA4: ForeignLayout = ForeignLayout {
    is_foreign: has_towers,
    weights: |edit| {
        edit.hide(&["v.", "mm."]);
        Ok(())
    },
    projector: Some(projector),
};

const PRE: &str = "tokenizer.ggml.pre";
const END: &str = "tokenizer.ggml.eos_token_id";
const END_OF_TURN: &str = "tokenizer.ggml.eot_token_id";

/// Tokens of Llama 3.
const END_OF_TEXT_ID: u32 = 128_001;
const START_HEADER_ID: u32 = 128_006;
const END_OF_TURN_ID: u32 = 128_009;

fn may_be_early_llama3(metadata: &Metadata) -> bool {
    let has_id = metadata.n_tokens() > Some(END_OF_TURN_ID.into());
    let names_no_pre = matches!(metadata.string(PRE), None | Some("" | "default"));
    let ends_text = metadata.number(END) == Some(END_OF_TEXT_ID.into());
    has_id && (names_no_pre || ends_text)
}

/// Changes single values only, so that the file can be mapped as it is.
fn llama3(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    let template = edit.original().string("tokenizer.chat_template");
    let template = template.unwrap_or_default();
    let is_llama3 = edit.token(END_OF_TURN_ID)?.as_deref() == Some(b"<|eot_id|>")
        && (["<|start_header_id|>", "<|eot_id|>"]
            .iter()
            .any(|mark| template.contains(mark))
            || edit.token(START_HEADER_ID)?.as_deref() == Some(b"<|start_header_id|>"));
    if !is_llama3 {
        return Ok(());
    }
    edit.default_pre("llama-bpe");
    for key in [END, END_OF_TURN] {
        if matches!(edit.number(key), None | Some(END_OF_TEXT_ID)) {
            edit.set(key, END_OF_TURN_ID);
        }
    }
    Ok(())
}

fn projector(clip: &mut Clip<'_>) -> Result<(), GgufError> {
    clip.set_image_projector("llama4");
    clip.copy(&[
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "image_size",
        "patch_size",
    ])?;
    let epsilon = clip.edit.float(".vision.layer_norm_epsilon");
    clip.set("attention.layer_norm_epsilon", epsilon.unwrap_or(1e-5));
    clip.projects_to_text()?;
    let ratio = clip.edit.float(".vision.pixel_shuffle_ratio");
    clip.set("projector.scale_factor", scale(ratio));
    clip.colors([0.5; 3], [0.5; 3]);
    clip.uses_gelu();
    clip.edit.rename_parts(&[
        ("v.positional_embedding_vlm", "v.position_embd.weight"),
        ("v.position_embd.weight.weight", "v.position_embd.weight"),
        ("v.vision_adapter.mlp.fc1.", "mm.model.mlp.1."),
        ("v.vision_adapter.mlp.fc2.", "mm.model.mlp.2."),
        ("mm.linear_1.", "mm.model.fc."),
        ("v.class_embedding", "v.class_embd"),
        ("v.layernorm_pre.", "v.pre_ln."),
        ("v.layernorm_post.", "v.post_ln."),
        ("v.patch_embedding.", "v.patch_embd."),
        (".attn_output.", ".attn_out."),
        (".attn_norm.", ".ln1."),
        (".ffn_norm.", ".ln2."),
        (".mlp.fc1.", ".ffn_up."),
        (".mlp.fc2.", ".ffn_down."),
    ]);
    Ok(())
}

/// How many patches are merged along one side: the inverse of the ratio.
fn scale(ratio: Option<f32>) -> u32 {
    const USUAL: u32 = 2;
    const MOST: u8 = 16;
    let wanted = ratio.map(|ratio| (1.0 / ratio).round());
    let mut known = (1..=MOST).map(|scale| (u32::from(scale), f32::from(scale)));
    let found = known.find(|(_, scale)| Some(*scale) == wanted);
    found.map_or(USUAL, |(scale, _)| scale)
}
