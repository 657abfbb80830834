//! Cohere's Command models.

mod parser;
mod renderer;

use super::family::{BuiltinParser, BuiltinRenderer, Family, Marks};

pub(super) static FAMILY: Family = Family {
    renderers: &[BuiltinRenderer {
        name: "cohere",
        bos: "<BOS_TOKEN>",
        images: false,
        render: renderer::render,
    }],
    parsers: &[BuiltinParser {
        name: "cohere",
        calls: "<|START_ACTION|>",
        thinking: Some(("<|START_THINKING|>", "<|END_THINKING|>")),
        opens: "<|START_THINKING|>",
        preserved: parser::PRESERVED,
        new: parser::new,
        ..BuiltinParser::PLAIN
    }],
    marks: &[Marks::new(
        &["<|START_TEXT|>", "<|START_ACTION|>"],
        "cohere",
    )],
    ..Family::PLAIN
};
