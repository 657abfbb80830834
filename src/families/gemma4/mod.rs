//! Gemma 4: thinking in channels, calls in the model's own syntax.

mod layout;
mod parser;
mod renderer;

use super::family::{Architecture, BuiltinParser, BuiltinRenderer, Family, Format, Marks, Need};

pub(super) static FAMILY: Family = Family {
    architectures: &[Architecture {
        name: "gemma4",
        layout: Some(layout::LAYOUT),
        format: Some(Format {
            renderer: "gemma4",
            parser: "gemma4",
            stop: &["<turn|>"],
        }),
        needs: &[Need {
            holds: |header| {
                let n_shared = header
                    .number(".attention.shared_kv_layers")
                    .unwrap_or_default();
                let n_layer = header.number(".block_count").unwrap_or_default();
                n_layer.saturating_sub(n_shared) >= 2
            },
            otherwise: "fewer than two layers have keys and values of their own",
        }],
        ..Architecture::PLAIN
    }],
    renderers: &[
        BuiltinRenderer {
            name: "gemma4",
            bos: "<bos>",
            images: true,
            render: renderer::small,
        },
        BuiltinRenderer {
            name: "gemma4-small",
            bos: "<bos>",
            images: true,
            render: renderer::small,
        },
        BuiltinRenderer {
            name: "gemma4-large",
            bos: "<bos>",
            images: true,
            render: renderer::large,
        },
    ],
    parsers: &[
        BuiltinParser {
            name: "gemma4",
            calls: "<|tool_call>",
            thinking: Some(("<|channel>", "<channel|>")),
            preserved: parser::PRESERVED,
            new: parser::new,
            ..BuiltinParser::PLAIN
        },
        BuiltinParser {
            name: "gemma4-no-thinking",
            calls: "<|tool_call>",
            preserved: parser::PRESERVED,
            new: parser::without_thinking,
            ..BuiltinParser::PLAIN
        },
    ],
    marks: &[Marks::new(&["'<|tool_call>call:'"], "gemma4")],
    resolve_renderer: resolve,
    ..Family::PLAIN
};

/// Models with at least this many parameters are large ones.
const LARGE: f64 = 12e9;

/// `gemma4` stands for two renderers.
fn resolve(name: &str, model: &str, parameters: &str) -> Option<&'static str> {
    (name == "gemma4").then(|| {
        if is_large(model, parameters) {
            "gemma4-large"
        } else {
            "gemma4-small"
        }
    })
}

fn is_large(model: &str, parameters: &str) -> bool {
    let model = model.to_lowercase();
    let names = |sizes: &[&str]| sizes.iter().any(|size| model.contains(size));
    if names(&["e2b", "e4b"]) {
        return false;
    }
    names(&["12b", "26b", "31b"]) || count(parameters).is_some_and(|count| count >= LARGE)
}

/// Parses a number of parameters as configs write it.
fn count(text: &str) -> Option<f64> {
    let text = text.trim();
    let unit = match text.chars().last()?.to_ascii_uppercase() {
        'K' => 1e3,
        'M' => 1e6,
        'B' => 1e9,
        'T' => 1e12,
        _ => return text.parse().ok(),
    };
    let number: f64 = text[..text.len() - 1].trim().parse().ok()?;
    Some(number * unit)
}

#[cfg(test)]
mod tests {
    use crate::families::resolve_renderer;

    #[test]
    fn a_renderer_is_chosen_by_name_and_size() {
        let resolve = resolve_renderer;
        assert_eq!(resolve("gemma4", "gemma4:e4b", "30B"), "gemma4-small");
        assert_eq!(resolve("gemma4", "x/gemma4:31B-it", ""), "gemma4-large");
        assert_eq!(resolve("gemma4", "mine", "12.2B"), "gemma4-large");
        assert_eq!(resolve("gemma4", "mine", "4.3B"), "gemma4-small");
        assert_eq!(resolve("qwen3.5", "mine", "4.3B"), "qwen3.5");
    }
}
