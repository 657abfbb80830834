//! Gemma 2, 3 and 3n, and their embedding model. Their chat templates fully describe the prompts.

mod layout;

use super::family::{Architecture, Family, TensorRule};

pub(super) static FAMILY: Family = Family {
    architectures: &[
        Architecture {
            name: "gemma2",
            window_period: 2,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "gemma3",
            layout: Some(layout::GEMMA3),
            window_period: 6,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "gemma-embedding",
            window_period: 6,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "gemma3n",
            layout: Some(layout::GEMMA3N),
            quantization: Some(TensorRule {
                tensors: &["per_layer_token_embd.weight"],
                kind: "F16",
            }),
            ..Architecture::PLAIN
        },
    ],
    mute_projectors: &["gemma3nv"],
    ..Family::PLAIN
};
