//! Ai2's Olmo 3: calls as lines of Python.

mod parser;
mod renderer;

use super::family::{Architecture, BuiltinParser, BuiltinRenderer, Family, Marks, THINK_TAGS};
use super::layout::ForeignLayout;

pub(super) static FAMILY: Family = Family {
    architectures: &[Architecture {
        name: "olmo3",
        // llama.cpp has it under the previous version's name.
        layout: Some(ForeignLayout {
            is_foreign: |_| true,
            weights: |edit| {
                edit.rename_architecture("olmo2");
                Ok(())
            },
            ..ForeignLayout::PLAIN
        }),
        ..Architecture::PLAIN
    }],
    renderers: &[
        BuiltinRenderer {
            name: "olmo3",
            bos: "",
            images: false,
            render: renderer::olmo3,
        },
        BuiltinRenderer {
            name: "olmo3.1",
            bos: "",
            images: false,
            render: renderer::olmo31,
        },
        BuiltinRenderer {
            name: "olmo3-think",
            bos: "",
            images: false,
            render: renderer::think,
        },
        BuiltinRenderer {
            name: "olmo3-32b-think",
            bos: "",
            images: false,
            render: renderer::think_32b,
        },
    ],
    parsers: &[
        BuiltinParser {
            name: "olmo3",
            calls: "<function_calls>",
            preserved: parser::PRESERVED,
            new: parser::instruct,
            ..BuiltinParser::PLAIN
        },
        BuiltinParser {
            name: "olmo3-think",
            thinking: THINK_TAGS,
            opens: "<think>",
            preserved: parser::PRESERVED_THINK,
            new: parser::think,
            ..BuiltinParser::PLAIN
        },
    ],
    marks: &[Marks::new(&["<function_calls>"], "olmo3")],
    ..Family::PLAIN
};
