//! Cogito v2, trained on top of `DeepSeek` 3: the same format with other details.

pub(super) mod parser;
mod renderer;

use super::family::{BuiltinParser, BuiltinRenderer, Family, Marks, THINK_TAGS};

pub(super) static FAMILY: Family = Family {
    renderers: &[BuiltinRenderer {
        name: "cogito",
        bos: "<｜begin▁of▁sentence｜>",
        images: false,
        render: renderer::render,
    }],
    parsers: &[BuiltinParser {
        name: "cogito",
        calls: "<｜tool▁calls▁begin｜>",
        thinking: THINK_TAGS,
        opens: "<think>",
        preserved: parser::PRESERVED,
        new: parser::cogito,
        ..BuiltinParser::PLAIN
    }],
    marks: &[Marks::new(&["<｜tool▁calls▁begin｜>", "```json"], "cogito")],
    ..Family::PLAIN
};
