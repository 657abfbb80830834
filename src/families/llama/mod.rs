//! Llama's vision models; the others need nothing that their files do not say.

use super::family::{Architecture, Family};
use super::layout::{VISION, has_towers};

pub(super) static FAMILY: Family = Family {
    architectures: &[
        Architecture {
            name: "llama4",
            foreign_layout: |metadata| has_towers(metadata).then_some(VISION),
            ..Architecture::PLAIN
        },
        Architecture {
            name: "mllama",
            foreign_layout: |_| Some("a model family without support in llama.cpp"),
            ..Architecture::PLAIN
        },
    ],
    ..Family::PLAIN
};
