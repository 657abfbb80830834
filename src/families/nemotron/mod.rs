//! NVIDIA's Nemotron 3: Qwen's XML calls, with its own prompt.

mod layout;
mod renderer;

use super::family::{Architecture, BuiltinParser, BuiltinRenderer, Family, Format, THINK_TAGS};
use super::shared::xml;
use crate::model::capability::Capability;

/// Every architecture of Nemotron-H.
const HYBRID: Architecture = Architecture {
    name: "nemotron_h*",
    format: Some(Format {
        renderer: "nemotron-3-nano",
        parser: "nemotron-3-nano",
        stop: &[],
    }),
    ..Architecture::PLAIN
};

pub(super) static FAMILY: Family = Family {
    architectures: &[
        HYBRID,
        Architecture {
            name: "nemotron_h_moe",
            layout: Some(layout::MOE),
            ..HYBRID
        },
        Architecture {
            name: "nemotron_h_omni",
            layout: Some(layout::OMNI),
            lacks: &[Capability::Audio],
            ..HYBRID
        },
    ],
    renderers: &[
        BuiltinRenderer {
            name: "nemotron-3-nano",
            bos: "",
            images: true,
            render: renderer::nano3,
        },
        BuiltinRenderer {
            name: "nemotron-3.5-nano",
            bos: "",
            images: true,
            render: renderer::nano35,
        },
    ],
    parsers: &[
        BuiltinParser {
            name: "nemotron-3-nano",
            ..PARSER
        },
        BuiltinParser {
            name: "nemotron-3.5-nano",
            ..PARSER
        },
    ],
    ..Family::PLAIN
};

const PARSER: BuiltinParser = BuiltinParser {
    calls: "<tool_call>",
    thinking: THINK_TAGS,
    opens: "<think>",
    preserved: xml::PRESERVED,
    new: xml::thinking_coder,
    ..BuiltinParser::PLAIN
};
