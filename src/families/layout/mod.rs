//! Files in the layouts of Ollama's former engine, which llama.cpp itself refuses.
//!
//! Ollama's converters wrote other keys and names than llama.cpp's, and the image encoder into the file of the weights.
//! Each family recognises its own files by the content of the header, never by a model's name, and describes the header
//! that llama.cpp wants ([`ForeignLayout`]). The result is a [`view`](crate::view) of the file, or a few values to
//! override. Nothing is written to disk.
//!
//! - [`source`]: a file with its header · [`edit`]: a header under construction · [`value`]: its new values ·
//!   [`tensor`]: its tensors
//! - [`clip`]: what headers of projectors have in common
//! - [`translate`]: from a file to what llama.cpp loads

mod clip;
mod edit;
mod source;
mod tensor;
#[cfg(test)]
mod tests;
mod translate;
mod value;

pub use clip::Clip;
pub(super) use clip::{OPENAI_MEAN, OPENAI_STD};
pub use edit::Edit;
pub use translate::{Loadable, check, has_projector, is_foreign, projector, to_quantize, weights};
pub(super) use value::New;

use crate::model::gguf::{GgufError, Metadata};

/// Makes the header of a projector.
pub type MakeProjector = fn(&mut Clip<'_>) -> Result<(), GgufError>;

/// A layout of files that llama.cpp does not load.
#[derive(Debug)]
pub struct ForeignLayout {
    /// Whether a file has this layout.
    pub is_foreign: fn(&Metadata) -> bool,
    /// Changes the header of a file to that of its weights alone.
    pub weights: fn(&mut Edit<'_>) -> Result<(), GgufError>,
    /// Makes the header of the projector whose tensors are among the weights.
    pub projector: Option<MakeProjector>,
}

impl ForeignLayout {
    /// A layout without a projector.
    pub const PLAIN: Self = Self {
        is_foreign: |_| false,
        weights: |_| Ok(()),
        projector: None,
    };
}

/// Whether the file has tensors of a vision tower or its projector, which llama.cpp wants in a separate file.
pub(super) fn has_towers(metadata: &Metadata) -> bool {
    metadata.has_tensor_prefix(&["v.", "mm."])
}

/// Whether the file has one of these keys.
pub(super) fn has_key(metadata: &Metadata, keys: &[&str]) -> bool {
    keys.iter().any(|key| metadata.get(key).is_some())
}

fn invalid(reason: impl Into<String>) -> GgufError {
    GgufError::Invalid(reason.into())
}
