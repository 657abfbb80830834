//! Mistral Small and Ministral 3.

mod parser;

use super::family::{Architecture, BuiltinParser, Family, Marks};
use super::layout::{VISION, has_key, has_towers};
use crate::model::gguf::Metadata;

pub(super) static FAMILY: Family = Family {
    architectures: &[Architecture {
        name: "mistral3",
        foreign_layout: layout,
        ..Architecture::PLAIN
    }],
    parsers: &[BuiltinParser {
        name: "ministral",
        calls: "[TOOL_CALLS]",
        opens: "[THINK]",
        preserved: parser::PRESERVED,
        new: parser::new,
        ..BuiltinParser::PLAIN
    }],
    marks: &[
        Marks::new(&["[SYSTEM_PROMPT]", "[TOOL_CALLS]", "[ARGS]"], "ministral"),
        Marks::new(&["[TOOL_CALLS]", "[CALL_ID]"], "ministral"),
    ],
    ..Family::PLAIN
};

fn layout(metadata: &Metadata) -> Option<&'static str> {
    if has_towers(metadata) {
        return Some(VISION);
    }
    let keys = [
        ".rope.scaling.beta_fast",
        ".rope.scaling.mscale_all_dim",
        ".rope.scaling_beta",
    ];
    has_key(metadata, &keys).then_some("other key names")
}
