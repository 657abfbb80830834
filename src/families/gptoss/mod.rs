//! gpt-oss: its TEMPLATE or chat template makes the prompt; answers are in the harmony format.

mod layout;
mod parser;

pub use parser::{Event, FunctionNames, Header, Messages};

use super::family::{Architecture, BuiltinParser, Family, Marks, TemplateFormat};
use crate::chat::ThinkLevel;
use crate::model::capability::Capability;

pub(super) static FAMILY: Family = Family {
    architectures: &[
        Architecture {
            name: "gpt-oss",
            window_period: 2,
            adds: &[Capability::Thinking],
            ..Architecture::PLAIN
        },
        // The name in files that Ollama converted.
        Architecture {
            name: "gptoss",
            layout: Some(layout::LAYOUT),
            adds: &[Capability::Thinking],
            ..Architecture::PLAIN
        },
    ],
    parsers: &[BuiltinParser {
        name: "harmony",
        calls: "<|channel|>",
        thinking: Some(parser::THINKING),
        forced_end: "<|end|><|start|>assistant<|channel|>final<|message|>",
        preserved: parser::PRESERVED,
        levels: &[ThinkLevel::Low, ThinkLevel::Medium, ThinkLevel::High],
        new: |start| Box::new(parser::Harmony::new(start)),
        ..BuiltinParser::PLAIN
    }],
    marks: &[Marks::new(&["<|channel|>"], "harmony")],
    template: Some(TemplateFormat {
        words: &["<|start|>", "<|end|>"],
        parser: "harmony",
    }),
    ..Family::PLAIN
};
