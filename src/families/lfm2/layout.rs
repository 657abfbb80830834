//! Files that Ollama converted.

use crate::families::layout::{Edit, ForeignLayout};
use crate::model::gguf::GgufError;

pub(super) const LAYOUT: ForeignLayout = ForeignLayout {
    is_foreign: |metadata| {
        metadata.tensor(NORM).is_some() && metadata.tensor(LLAMA_CPP_NORM).is_none()
    },
    weights,
    ..ForeignLayout::PLAIN
};

/// llama.cpp stores the last norm under the name of the first.
const NORM: &str = "output_norm.weight";
const LLAMA_CPP_NORM: &str = "token_embd_norm.weight";

fn weights(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    edit.rename_prefixes(&[(NORM, LLAMA_CPP_NORM)]);
    edit.set("tokenizer.ggml.pre", "lfm2");
    // Some files have the width before it was rounded to that of the tensors.
    let width = edit.required_side("blk.0.ffn_gate.weight", 1)?;
    edit.set(".feed_forward_length", width);
    Ok(())
}
