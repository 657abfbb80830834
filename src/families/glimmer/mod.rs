//! Glimmer: messages with a header that names the recipient, calls in XML with namespaces.

mod parser;
mod renderer;

use super::family::{BuiltinParser, BuiltinRenderer, Family, Marks};

pub(super) static FAMILY: Family = Family {
    renderers: &[BuiltinRenderer {
        name: "glimmer",
        bos: "<|begin_of_text|>",
        images: true,
        render: renderer::render,
    }],
    parsers: &[BuiltinParser {
        name: "glimmer",
        calls: " to=",
        thinking: Some(parser::THINKING),
        preserved: parser::PRESERVED,
        new: parser::new,
        ..BuiltinParser::PLAIN
    }],
    marks: &[Marks::new(&["<atem:function_calls>", "<|eom|>"], "glimmer")],
    ..Family::PLAIN
};
