//! Projectors: the vision and audio parts of models, in separate files.

use super::family::{Architecture, Family};
use super::layout::{ForeignLayout, has_key};
use crate::model::gguf::{Metadata, Value};

pub(super) static FAMILY: Family = Family {
    architectures: &[Architecture {
        name: "clip",
        layout: Some(ForeignLayout {
            is_foreign: is_untyped,
            weights: |edit| {
                // For LLaVA's first projectors; overrides work for weights only.
                edit.set("clip.projector_type", "mlp");
                edit.touch();
                Ok(())
            },
            ..ForeignLayout::PLAIN
        }),
        ..Architecture::PLAIN
    }],
    ..Family::PLAIN
};

fn is_untyped(metadata: &Metadata) -> bool {
    let sees = metadata.get("clip.has_vision_encoder");
    sees.and_then(Value::as_bool) == Some(true)
        && !has_key(
            metadata,
            &["clip.projector_type", "clip.vision.projector_type"],
        )
}
