//! Mistral Small and Ministral 3.

mod layout;
mod parser;

use super::family::{Architecture, BuiltinParser, Family, Marks};

pub(super) static FAMILY: Family = Family {
    architectures: &[Architecture {
        name: "mistral3",
        layout: Some(layout::LAYOUT),
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
