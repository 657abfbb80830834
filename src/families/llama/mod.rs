//! Llama's vision models and early files of Llama 3; for the others, their files are enough.

mod layout;

use super::family::{Architecture, Family};

pub(super) static FAMILY: Family = Family {
    architectures: &[
        Architecture {
            name: "llama",
            layout: Some(layout::LLAMA),
            ..Architecture::PLAIN
        },
        Architecture {
            name: "llama4",
            layout: Some(layout::LLAMA4),
            ..Architecture::PLAIN
        },
        Architecture {
            name: "mllama",
            unsupported: true,
            ..Architecture::PLAIN
        },
    ],
    ..Family::PLAIN
};
