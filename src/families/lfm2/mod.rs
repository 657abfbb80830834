//! Liquid's LFM2: calls in Python's syntax.

mod layout;
mod parser;
mod renderer;

use super::family::{
    Architecture, BuiltinParser, BuiltinRenderer, EXPERTS, Family, Marks, Need, THINK_TAGS,
};

const EXPERTS_UNLESS_DENSE: Need = Need {
    holds: |header| {
        let n_dense = header
            .number(".leading_dense_block_count")
            .unwrap_or_default();
        let all_dense = header.number(".block_count").is_some_and(|n| n <= n_dense);
        all_dense || (EXPERTS.holds)(header)
    },
    otherwise: EXPERTS.otherwise,
};

const EVEN_HEADS: Need = Need {
    holds: |header| {
        let lengths = [".attention.key_length", ".attention.value_length"];
        !matches!(lengths.map(|key| header.number(key)), [Some(key), Some(value)] if key != value)
    },
    otherwise: "the heads of keys and values have different lengths",
};

pub(super) static FAMILY: Family = Family {
    architectures: &[
        Architecture {
            name: "lfm2",
            layout: Some(layout::LAYOUT),
            ..Architecture::PLAIN
        },
        Architecture {
            name: "lfm2moe",
            needs: &[EXPERTS_UNLESS_DENSE, EVEN_HEADS],
            ..Architecture::PLAIN
        },
    ],
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
