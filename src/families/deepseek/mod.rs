//! `DeepSeek`: versions 3 and 3.1, R1, and files with the architecture of version 2.

mod layout;
pub(super) mod parser;
mod renderer;

use super::family::{
    Architecture, BuiltinParser, BuiltinRenderer, Family, Marks, THINK_TAGS, TensorRule, UNROTATED,
};

pub(super) static FAMILY: Family = Family {
    architectures: &[
        Architecture {
            name: "deepseek2",
            quantization: Some(TensorRule {
                tensors: &[
                    "attn_k_b.weight",
                    "attn_q_a.weight",
                    "attn_q_b.weight",
                    "attn_v_b.weight",
                    "attn_kv_a_mqa.weight",
                ],
                kind: "Q8_0",
            }),
            needs: &[UNROTATED],
            ..Architecture::PLAIN
        },
        Architecture {
            name: "deepseek2-ocr",
            layout: Some(layout::QUANTIZED_OCR),
            ..Architecture::PLAIN
        },
        Architecture {
            name: "deepseekocr",
            layout: Some(layout::OCR),
            ..Architecture::PLAIN
        },
    ],
    renderers: &[BuiltinRenderer {
        name: "deepseek3.1",
        bos: "<｜begin▁of▁sentence｜>",
        images: false,
        render: renderer::render,
    }],
    parsers: &[BuiltinParser {
        name: "deepseek3",
        calls: "<｜tool▁calls▁begin｜>",
        thinking: THINK_TAGS,
        opens: "<think>",
        preserved: parser::PRESERVED,
        new: parser::deepseek,
        ..BuiltinParser::PLAIN
    }],
    marks: &[Marks::new(&["<｜tool▁calls▁begin｜>"], "deepseek3")],
    // An older spelling.
    resolve_renderer: |name, _, _| (name == "deepseek3").then_some("deepseek3.1"),
    forgetful_models: &["deepseek-r1"],
    ..Family::PLAIN
};
