//! NVIDIA's Nemotron 3: Qwen's calls in XML, with a prompt of its own.

mod renderer;

use super::family::{Architecture, BuiltinParser, BuiltinRenderer, Family, Format, THINK_TAGS};
use super::layout::{VISION, has_towers};
use super::shared::xml;
use crate::model::capability::Capability;
use crate::model::gguf::Metadata;

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
            foreign_layout: |metadata| has_other_names(metadata).then_some("other tensor names"),
            ..HYBRID
        },
        Architecture {
            name: "nemotron_h_omni",
            foreign_layout: |metadata| {
                let has_tower = has_towers(metadata) || metadata.has_tensor_prefix(&["a."]);
                has_tower.then_some(VISION)
            },
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

fn has_other_names(metadata: &Metadata) -> bool {
    metadata.has_tensor_prefix(&["blk.0.ffn_latent_in", "blk.1.ffn_latent_in", "mtp."])
}
