//! Liquid's LFM2: calls in Python's syntax.

mod parser;
mod renderer;

use super::family::{Architecture, BuiltinParser, BuiltinRenderer, Family, Marks, THINK_TAGS};
use crate::model::gguf::Metadata;

pub(super) static FAMILY: Family = Family {
    architectures: &[Architecture {
        name: "lfm2",
        foreign_layout: |metadata| has_other_names(metadata).then_some("other tensor names"),
        ..Architecture::PLAIN
    }],
    renderers: &[
        BuiltinRenderer {
            name: "lfm2",
            bos: "<|startoftext|>",
            images: true,
            render: renderer::instruct,
        },
        BuiltinRenderer {
            name: "lfm2-thinking",
            bos: "<|startoftext|>",
            images: true,
            render: renderer::thinking,
        },
    ],
    parsers: &[
        BuiltinParser {
            name: "lfm2",
            calls: "<|tool_call_start|>",
            preserved: parser::PRESERVED,
            new: parser::instruct,
            ..BuiltinParser::PLAIN
        },
        BuiltinParser {
            name: "lfm2-thinking",
            calls: "<|tool_call_start|>",
            thinking: THINK_TAGS,
            preserved: parser::PRESERVED,
            new: parser::thinking,
            ..BuiltinParser::PLAIN
        },
    ],
    marks: &[
        Marks::new(&["<|tool_list_start|>", "<think>"], "lfm2-thinking"),
        Marks::new(&["<|tool_list_start|>"], "lfm2"),
        Marks::new(&["List of tools: [", "<think>"], "lfm2-thinking"),
        Marks::new(&["List of tools: ["], "lfm2"),
    ],
    ..Family::PLAIN
};

fn has_other_names(metadata: &Metadata) -> bool {
    metadata.tensor("output_norm.weight").is_some()
        && metadata.tensor("token_embd_norm.weight").is_none()
}
