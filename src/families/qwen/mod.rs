//! Qwen 2.5 VL, Qwen 3 and its successors: calls as JSON; in XML from the coder models on.

mod layout;
mod parser;
mod renderer;

use super::family::{
    Architecture, BuiltinParser, BuiltinRenderer, Family, Marks, THINK_TAGS, TensorRule,
};
use super::shared::xml;
use renderer::{coder, qwen35, vl};

/// The minimum number of tokens of an image, as in Ollama: these models need more detail than their files ask for.
const DETAILED: u32 = 1024;

/// Qwen 3.5.
const QWEN35: Architecture = Architecture {
    layout: Some(layout::QWEN35),
    quantization: Some(TensorRule {
        tensors: &["nextn.eh_proj.weight"],
        kind: "Q8_0",
    }),
    ..Architecture::PLAIN
};

/// Answers with thinking and JSON calls.
const JSON: BuiltinParser = BuiltinParser {
    calls: "<tool_call>",
    thinking: THINK_TAGS,
    opens: "<think>",
    preserved: parser::PRESERVED,
    new: parser::thinking,
    ..BuiltinParser::PLAIN
};

/// Answers with thinking and XML calls.
const XML: BuiltinParser = BuiltinParser {
    preserved: xml::PRESERVED,
    new: xml::thinking_coder,
    ..JSON
};

pub(super) static FAMILY: Family = Family {
    architectures: &[
        Architecture {
            name: "qwen25vl",
            layout: Some(layout::QWEN25_VL),
            min_image_tokens: DETAILED,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "qwen2vl",
            layout: Some(layout::QWEN2_VL),
            min_image_tokens: DETAILED,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "qwen3",
            is_forgetful: true,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "qwen3vl",
            layout: Some(layout::QWEN3_VL),
            min_image_tokens: DETAILED,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "qwen3vlmoe",
            layout: Some(layout::QWEN3_VL),
            min_image_tokens: DETAILED,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "qwen3next",
            layout: Some(layout::QWEN3_NEXT),
            ..Architecture::PLAIN
        },
        Architecture {
            name: "qwen35",
            ..QWEN35
        },
        Architecture {
            name: "qwen35moe",
            ..QWEN35
        },
    ],
    renderers: &[
        BuiltinRenderer {
            name: "qwen3-coder",
            bos: "",
            images: false,
            render: coder::render,
        },
        BuiltinRenderer {
            name: "qwen3-vl-instruct",
            bos: "",
            images: true,
            render: vl::instruct,
        },
        BuiltinRenderer {
            name: "qwen3-vl-thinking",
            bos: "",
            images: true,
            render: vl::thinking,
        },
        BuiltinRenderer {
            name: "qwen3.5",
            bos: "",
            images: true,
            render: qwen35::qwen35,
        },
        BuiltinRenderer {
            name: "qwen3.8",
            bos: "",
            images: true,
            render: qwen35::qwen38,
        },
        BuiltinRenderer {
            name: "ornith",
            bos: "",
            images: true,
            render: qwen35::ornith,
        },
    ],
    parsers: &[
        BuiltinParser {
            name: "qwen3",
            thinking: None,
            opens: "",
            new: parser::instruct,
            ..JSON
        },
        BuiltinParser {
            name: "qwen3-thinking",
            ..JSON
        },
        BuiltinParser {
            name: "qwen3.5",
            ..XML
        },
        BuiltinParser {
            name: "ornith",
            ..XML
        },
        BuiltinParser {
            name: "qwen3-coder",
            thinking: None,
            opens: "",
            preserved: xml::PRESERVED_WITHOUT_THINKING,
            new: xml::coder,
            ..XML
        },
        BuiltinParser {
            name: "qwen3-vl-instruct",
            thinking: None,
            opens: "",
            preserved: parser::PRESERVED_VL,
            new: parser::vision,
            ..JSON
        },
        BuiltinParser {
            name: "qwen3-vl-thinking",
            preserved: parser::PRESERVED_VL,
            new: parser::vision_thinking,
            ..JSON
        },
    ],
    marks: &[
        Marks::new(
            &["<tool_call>", "<function=", "<parameter=", "<think>"],
            "qwen3.5",
        ),
        Marks::new(&["<tool_call>", "<function=", "<parameter="], "qwen3-coder"),
        Marks::last_resort(&["<tool_call>", "<think>"], "qwen3-thinking"),
        Marks::last_resort(&["<tool_call>"], "qwen3"),
    ],
    ..Family::PLAIN
};
