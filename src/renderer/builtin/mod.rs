//! The built-in renderers by name (`RENDERER` of a Modelfile, `renderer` of a model's config).

mod cogito;
mod cohere;
mod common;
mod deepseek;
mod functiongemma;
mod gemma4;
mod glimmer;
mod glm;
mod laguna;
mod lfm2;
mod nemotron;
mod olmo3;
mod qwen35;
mod qwen3_coder;
mod qwen3_vl;
#[cfg(test)]
mod tests;

use super::{RenderError, RenderInput};

/// A built-in renderer.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    /// The text of the BOS token with which its prompts begin; empty = none.
    pub bos: &'static str,
    /// Whether it places images; others ignore them.
    pub images: bool,
    /// Makes the prompt.
    pub render: fn(&RenderInput<'_>) -> Result<String, RenderError>,
}

/// One line for each name.
static TABLE: &[Entry] = &[
    Entry {
        name: "qwen3-coder",
        bos: "",
        images: false,
        render: qwen3_coder::render,
    },
    Entry {
        name: "qwen3-vl-instruct",
        bos: "",
        images: true,
        render: qwen3_vl::instruct,
    },
    Entry {
        name: "qwen3-vl-thinking",
        bos: "",
        images: true,
        render: qwen3_vl::thinking,
    },
    Entry {
        name: "qwen3.5",
        bos: "",
        images: true,
        render: qwen35::qwen35,
    },
    Entry {
        name: "qwen3.8",
        bos: "",
        images: true,
        render: qwen35::qwen38,
    },
    Entry {
        name: "ornith",
        bos: "",
        images: true,
        render: qwen35::ornith,
    },
    Entry {
        name: "cogito",
        bos: "<｜begin▁of▁sentence｜>",
        images: false,
        render: cogito::render,
    },
    Entry {
        name: "deepseek3.1",
        bos: "<｜begin▁of▁sentence｜>",
        images: false,
        render: deepseek::render,
    },
    Entry {
        name: "olmo3",
        bos: "",
        images: false,
        render: olmo3::olmo3,
    },
    Entry {
        name: "olmo3.1",
        bos: "",
        images: false,
        render: olmo3::olmo31,
    },
    Entry {
        name: "olmo3-think",
        bos: "",
        images: false,
        render: olmo3::think,
    },
    Entry {
        name: "olmo3-32b-think",
        bos: "",
        images: false,
        render: olmo3::think_32b,
    },
    Entry {
        name: "nemotron-3-nano",
        bos: "",
        images: true,
        render: nemotron::nano3,
    },
    Entry {
        name: "nemotron-3.5-nano",
        bos: "",
        images: true,
        render: nemotron::nano35,
    },
    Entry {
        name: "gemma4",
        bos: "<bos>",
        images: true,
        render: gemma4::small,
    },
    Entry {
        name: "gemma4-small",
        bos: "<bos>",
        images: true,
        render: gemma4::small,
    },
    Entry {
        name: "gemma4-large",
        bos: "<bos>",
        images: true,
        render: gemma4::large,
    },
    Entry {
        name: "functiongemma",
        bos: "<bos>",
        images: false,
        render: functiongemma::render,
    },
    Entry {
        name: "glm-4.7",
        bos: "",
        images: false,
        render: glm::glm47,
    },
    Entry {
        name: "glm-ocr",
        bos: "",
        images: true,
        render: glm::ocr,
    },
    Entry {
        name: "lfm2",
        bos: "<|startoftext|>",
        images: true,
        render: lfm2::instruct,
    },
    Entry {
        name: "lfm2-thinking",
        bos: "<|startoftext|>",
        images: true,
        render: lfm2::thinking,
    },
    Entry {
        name: "laguna",
        bos: "〈|EOS|〉",
        images: false,
        render: laguna::laguna,
    },
    Entry {
        name: "poolside-v1",
        bos: "〈|EOS|〉",
        images: false,
        render: laguna::poolside,
    },
    Entry {
        name: "cohere",
        bos: "<BOS_TOKEN>",
        images: false,
        render: cohere::render,
    },
    Entry {
        name: "glimmer",
        bos: "<|begin_of_text|>",
        images: true,
        render: glimmer::render,
    },
];

/// Returns the renderer of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}

/// Models of this size (in parameters) and above are large ones.
const LARGE: f64 = 12e9;

/// The name under which a renderer is listed: `gemma4` stands for two of them, chosen by the
/// model's name and size (`parameters`, like `12.2B`); one name has an older spelling.
pub fn resolve<'a>(renderer: &'a str, model: &str, parameters: &str) -> &'a str {
    match renderer {
        "gemma4" if is_large_gemma4(model, parameters) => "gemma4-large",
        "gemma4" => "gemma4-small",
        "deepseek3" => "deepseek3.1",
        other => other,
    }
}

fn is_large_gemma4(model: &str, parameters: &str) -> bool {
    let model = model.to_lowercase();
    let names = |sizes: &[&str]| sizes.iter().any(|size| model.contains(size));
    if names(&["e2b", "e4b"]) {
        return false;
    }
    names(&["12b", "26b", "31b"]) || count(parameters).is_some_and(|count| count >= LARGE)
}

/// Reads a number of parameters as configs write it.
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
