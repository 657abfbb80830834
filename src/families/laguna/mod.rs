//! Poolside's Laguna models.

mod parser;
mod renderer;

use super::family::{Architecture, BuiltinParser, BuiltinRenderer, Family, Format, THINK_TAGS};
use super::layout::has_key;
use crate::model::gguf::Metadata;

pub(super) static FAMILY: Family = Family {
    architectures: &[Architecture {
        name: "laguna",
        foreign_layout: |metadata| has_other_names(metadata).then_some("other key names"),
        format: Some(Format {
            renderer: "laguna",
            parser: "laguna",
            stop: &[],
        }),
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

fn has_other_names(metadata: &Metadata) -> bool {
    has_key(
        metadata,
        &[".rope.swa.dimension_count", ".rope.swa.freq_base"],
    ) || metadata.tensor("blk.0.attn_g.weight").is_some()
}
