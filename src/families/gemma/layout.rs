//! Files that Ollama converted: Gemma 3 with its image encoder, the embedding model, Gemma 3n.

use crate::families::layout::{Clip, Edit, ForeignLayout, New, has_key, has_towers};
use crate::model::gguf::{GgufError, Metadata};

/// Gemma 3, and the embedding model under the chat model's name.
pub(super) const GEMMA3: ForeignLayout = ForeignLayout {
    is_foreign: |metadata| is_embedding(metadata) || is_chat(metadata),
    weights: |edit| {
        if is_embedding(edit.original()) {
            embedding(edit)
        } else {
            chat(edit)
        }
    },
    projector: Some(projector),
};

pub(super) const GEMMA3N: ForeignLayout = ForeignLayout {
    is_foreign: has_cut_vocabulary,
    weights: gemma3n,
    ..ForeignLayout::PLAIN
};

/// The context that Gemma 3 was trained for by stretching positions.
const LONG_CONTEXT: u64 = 131_072;

fn is_embedding(metadata: &Metadata) -> bool {
    metadata.tensor("dense.0.weight").is_some()
}

fn is_chat(metadata: &Metadata) -> bool {
    let keys = [
        ".mm.tokens_per_image",
        ".rope.global.freq_base",
        ".rope.local.freq_base",
        "tokenizer.ggml.add_padding_token",
        "tokenizer.ggml.add_unknown_token",
    ];
    let has_epsilon = has_key(metadata, &[".attention.layer_norm_rms_epsilon"]);
    has_towers(metadata) || has_key(metadata, &keys) || !has_epsilon
}

fn chat(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    edit.rename(".rope.global.freq_base", ".rope.freq_base");
    edit.rename(".rope.local.freq_base", ".rope.freq_base_swa");
    edit.default(".attention.layer_norm_rms_epsilon", 1e-6);
    edit.default(".rope.freq_base", 1_000_000.0);
    edit.default(".rope.freq_base_swa", 10_000.0);
    if edit.original().number(".context_length") >= Some(LONG_CONTEXT) {
        edit.default(".rope.scaling.type", "linear");
        edit.default(".rope.scaling.factor", 8.0);
    }
    edit.hide(&["v.", "mm."]);
    // Some files have one token more than the embedding has rows.
    let n_rows = edit.required_side("token_embd.weight", 1)?;
    edit.cut_vocabulary(n_rows)
}

fn embedding(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    edit.rename_architecture("gemma-embedding");
    edit.remove(".attention.causal");
    edit.remove(".attention.sliding_window_pattern");
    edit.default(".rope.freq_base_swa", 10_000.0);
    edit.default(".attention.layer_norm_rms_epsilon", 1e-6);
    for (old, new) in [("dense.0", "dense_2"), ("dense.1", "dense_3")] {
        let old = format!("{old}.weight");
        let (from, to) = (edit.required_side(&old, 0)?, edit.required_side(&old, 1)?);
        edit.set(&format!(".{new}_feat_in"), from);
        edit.set(&format!(".{new}_feat_out"), to);
    }
    edit.rename_prefixes(&[
        ("dense.0.", "dense_2."),
        ("dense.1.", "dense_3."),
        ("norm.", "output_norm."),
    ]);
    Ok(())
}

fn projector(clip: &mut Clip<'_>) -> Result<(), GgufError> {
    clip.set_image_projector("gemma3");
    clip.copy(&[
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "image_size",
        "patch_size",
        "attention.head_count",
    ])?;
    clip.epsilon_or(1e-6);
    clip.projects_to_text()?;
    clip.colors([0.5; 3], [0.5; 3]);
    clip.uses_gelu();
    clip.edit.rename_parts(&[
        ("v.patch_embedding.", "v.patch_embd."),
        ("v.position_embedding.", "v.position_embd."),
        ("v.post_layernorm.", "v.post_ln."),
        (".layer_norm1.", ".ln1."),
        (".layer_norm2.", ".ln2."),
        (".attn_output.", ".attn_out."),
        (".mlp.fc1.", ".ffn_up."),
        (".mlp.fc2.", ".ffn_down."),
        ("mm.mm_input_projection.", "mm.input_projection."),
        ("mm.mm_soft_emb_norm.", "mm.soft_emb_norm."),
    ]);
    clip.edit
        .make_f32(&["v.patch_embd.weight", "v.position_embd.weight"])
}

fn rows(metadata: &Metadata, tensor: &str) -> Option<u64> {
    metadata.tensor(tensor)?.shape.get(1).copied()
}

const PER_LAYER: &str = "per_layer_token_embd.weight";
const TOKENS: &str = "token_embd.weight";

fn has_cut_vocabulary(metadata: &Metadata) -> bool {
    let (tokens, per_layer) = (rows(metadata, TOKENS), rows(metadata, PER_LAYER));
    tokens.is_some() && per_layer.is_some() && tokens != per_layer
}

/// ggml's numbers for kinds of tokens.
const NORMAL: i32 = 1;
const BYTE: i32 = 6;

/// Tokens that end an answer.
const END_OF_TEXT: u32 = 1;
const END_OF_TURN: u32 = 106;

fn gemma3n(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    const KINDS: &str = "tokenizer.ggml.token_type";
    let n_rows = edit.required_side(PER_LAYER, 1)?;
    if let Some(tensor) = edit.tensor_mut(TOKENS) {
        tensor.cut_rows(n_rows.into())?;
    }
    edit.set("tokenizer.ggml.model", "llama");
    edit.cut_vocabulary(n_rows)?;
    let tokens = edit.texts("tokenizer.ggml.tokens")?;
    let kinds = edit.long_list(KINDS)?;
    let kinds = kinds.into_iter().zip(tokens).take(n_rows as usize);
    let kinds = kinds.map(|(kind, token)| match &*token {
        token if is_byte(token) => BYTE,
        token if token.starts_with(b"<unused") => NORMAL,
        _ => kind,
    });
    edit.set(KINDS, New::I32s(kinds.collect()));
    let mut ends = edit.numbers("tokenizer.ggml.eos_token_ids");
    if ends.is_empty() {
        ends.push(END_OF_TEXT);
    }
    if !ends.contains(&END_OF_TURN) {
        ends.push(END_OF_TURN);
    }
    edit.set("tokenizer.ggml.eos_token_ids", New::U32s(ends));
    Ok(())
}

/// Whether a token stands for a byte, such as `<0x0A>`.
fn is_byte(token: &[u8]) -> bool {
    let digits = token
        .strip_prefix(b"<0x")
        .and_then(|rest| rest.strip_suffix(b">"));
    digits.is_some_and(|digits| digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit))
}
