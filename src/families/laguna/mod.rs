//! Poolside's Laguna models.

mod layout;
mod parser;
mod renderer;

use super::family::{
    Architecture, BuiltinParser, BuiltinRenderer, Family, Format, Need, THINK_TAGS,
};

pub(super) static FAMILY: Family = Family {
    architectures: &[Architecture {
        name: "laguna",
        layout: Some(layout::LAYOUT),
        format: Some(Format {
            renderer: "laguna",
            parser: "laguna",
            stop: &[],
        }),
        needs: &[Need {
            holds: layout::gates_fit,
            otherwise: "`attn_gate` has neither a row for each head nor one for each of their numbers",
        }],
        ..Architecture::PLAIN
    }],
    renderers: &[
        BuiltinRenderer {
            name: "laguna",
            bos: "〈|EOS|〉",
            images: false,
            render: renderer::laguna,
        },
        BuiltinRenderer {
            name: "poolside-v1",
            bos: "〈|EOS|〉",
            images: false,
            render: renderer::poolside,
        },
    ],
    parsers: &[
        BuiltinParser {
            name: "laguna",
            calls: "<tool_call>",
            thinking: THINK_TAGS,
            opens: "<think>",
            preserved: parser::PRESERVED,
            new: parser::laguna,
            ..BuiltinParser::PLAIN
        },
        BuiltinParser {
            name: "poolside-v1",
            calls: "<tool_call>",
            thinking: THINK_TAGS,
            opens: "<think>",
            preserved: parser::PRESERVED,
            new: parser::poolside,
            ..BuiltinParser::PLAIN
        },
    ],
    ..Family::PLAIN
};
