//! BERT and Nomic's variants: embedding models.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::family::{Architecture, Family};
use super::layout::{Edit, ForeignLayout, New};
use crate::model::gguf::{GgufError, Metadata, Value};

pub(super) static FAMILY: Family = Family {
    architectures: &[
        Architecture {
            name: "bert",
            layout: Some(ForeignLayout {
                is_foreign: has_text_charsmap,
                weights: decode_charsmap,
                ..ForeignLayout::PLAIN
            }),
            raw_embeddings: |metadata| {
                let tokenizer = metadata.string("tokenizer.ggml.model");
                tokenizer.is_some_and(|model| model != "bert") || !normalizes(metadata, true)
            },
            ..Architecture::PLAIN
        },
        Architecture {
            name: "nomic-bert",
            raw_embeddings: |metadata| !normalizes(metadata, false),
            ..Architecture::PLAIN
        },
        Architecture {
            name: "nomic-bert-moe",
            raw_embeddings: |metadata| !normalizes(metadata, false),
            ..Architecture::PLAIN
        },
    ],
    ..Family::PLAIN
};

fn normalizes(metadata: &Metadata, default: bool) -> bool {
    metadata.boolean(".normalize_embeddings").unwrap_or(default)
}

/// The table for normalising text.
const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";

/// Ollama converted it to a list of the characters of a base64 text.
fn has_text_charsmap(metadata: &Metadata) -> bool {
    let table = metadata.get(CHARSMAP);
    metadata.string("tokenizer.ggml.model") == Some("t5") && table.is_some_and(Value::is_texts)
}

/// llama.cpp reads the table as a list of bytes.
fn decode_charsmap(edit: &mut Edit<'_>) -> Result<(), GgufError> {
    let text = edit.texts(CHARSMAP)?.concat();
    let bytes = STANDARD.decode(text);
    let bytes = bytes.map_err(|_| GgufError::Invalid(format!("`{CHARSMAP}` is no base64")))?;
    edit.set(CHARSMAP, New::U8s(bytes));
    Ok(())
}
