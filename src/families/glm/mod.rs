//! GLM 4: calls as a name with pairs of `<arg_key>` and `<arg_value>`.

mod layout;
mod parser;
mod renderer;

use super::family::{
    Architecture, BuiltinParser, BuiltinRenderer, EXPERTS, Family, Marks, THINK_TAGS, TensorRule,
};

const QUANTIZATION: Option<TensorRule> = Some(TensorRule {
    tensors: &["token_embd.weight", "output.weight"],
    kind: "F16",
});

pub(super) static FAMILY: Family = Family {
    architectures: &[
        Architecture {
            name: "glm4moe",
            needs: &[EXPERTS],
            ..Architecture::PLAIN
        },
        Architecture {
            name: "glm4",
            layout: Some(layout::QUANTIZED_OCR),
            quantization: QUANTIZATION,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "glmocr",
            layout: Some(layout::OCR),
            quantization: QUANTIZATION,
            ..Architecture::PLAIN
        },
        Architecture {
            name: "glm4moelite",
            layout: Some(layout::MOE_LITE),
            ..Architecture::PLAIN
        },
    ],
    renderers: &[
        BuiltinRenderer {
            name: "glm-4.7",
            bos: "",
            images: false,
            render: renderer::glm47,
        },
        BuiltinRenderer {
            name: "glm-ocr",
            bos: "",
            images: true,
            render: renderer::ocr,
        },
    ],
    parsers: &[
        BuiltinParser {
            name: "glm-4.7",
            calls: "<tool_call>",
            thinking: THINK_TAGS,
            opens: "<think>",
            preserved: parser::PRESERVED,
            new: parser::thinking,
            ..BuiltinParser::PLAIN
        },
        BuiltinParser {
            name: "glm-ocr",
            calls: "<tool_call>",
            preserved: parser::PRESERVED,
            new: parser::ocr,
            ..BuiltinParser::PLAIN
        },
    ],
    marks: &[Marks::new(&["<arg_key>", "<arg_value>"], "glm-4.7")],
    ..Family::PLAIN
};
