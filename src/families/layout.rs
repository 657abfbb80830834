//! Files in the layouts of Ollama's former engine, which llama.cpp itself refuses.
//!
//! Each family recognises its own by the content of the header, never by a model's name
//! (`Architecture::foreign_layout`). Nothing translates them: the refusal names the reason.

use crate::model::gguf::Metadata;

/// A reason that several families share.
pub(super) const VISION: &str = "vision tensors inside the model file";

/// Another one.
pub(super) const OWN_NAME: &str = "an architecture name that only Ollama used";

/// Whether the file has tensors of a vision tower or its projector, which llama.cpp wants in a file of
/// their own.
pub(super) fn has_towers(metadata: &Metadata) -> bool {
    metadata.has_tensor_prefix(&["v.", "mm."])
}

/// Whether the file has one of these keys.
pub(super) fn has_key(metadata: &Metadata, keys: &[&str]) -> bool {
    keys.iter().any(|key| metadata.get(key).is_some())
}
