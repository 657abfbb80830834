//! `FunctionGemma`: Gemma 3 270M for tool calls, which have their own syntax.

mod parser;
mod renderer;

use super::family::{BuiltinParser, BuiltinRenderer, Family, Marks};

pub(super) static FAMILY: Family = Family {
    renderers: &[BuiltinRenderer {
        name: "functiongemma",
        bos: "<bos>",
        images: false,
        render: renderer::render,
    }],
    parsers: &[BuiltinParser {
        name: "functiongemma",
        calls: "<start_function_call>",
        preserved: parser::PRESERVED,
        new: parser::new,
        ..BuiltinParser::PLAIN
    }],
    marks: &[Marks::new(&["<start_function_call>"], "functiongemma")],
    ..Family::PLAIN
};
