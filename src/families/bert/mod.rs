//! BERT and Nomic's variants: embedding models.

use super::family::{Architecture, Family};
use crate::model::gguf::{Metadata, Value};

pub(super) static FAMILY: Family = Family {
    architectures: &[
        Architecture {
            name: "bert",
            foreign_layout: |metadata| {
                has_text_charsmap(metadata).then_some("a tokenizer table stored as text")
            },
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

/// llama.cpp reads the table as an array of bytes.
fn has_text_charsmap(metadata: &Metadata) -> bool {
    let table = metadata.get("tokenizer.ggml.precompiled_charsmap");
    metadata.string("tokenizer.ggml.model") == Some("t5") && table.is_some_and(Value::is_texts)
}
