//! Types of single tensors that Ollama does not leave to llama.cpp's quantizer.

use crate::model::gguf::{Metadata, TensorInfo};
use crate::protocol::TensorType;

/// Towers and drafts inside the model's file: they stay as they are.
const EMBEDDED: [&str; 5] = ["a.", "mm.", "mtp.", "s.", "v."];

/// What loses too much by four bits.
struct Rule {
    architectures: &'static [&'static str],
    /// Names of tensors, without their block's.
    tensors: &'static [&'static str],
    kind: &'static str,
}

const RULES: [Rule; 4] = [
    Rule {
        architectures: &["qwen35", "qwen35moe"],
        tensors: &["nextn.eh_proj.weight"],
        kind: "Q8_0",
    },
    Rule {
        architectures: &["gemma3n"],
        tensors: &["per_layer_token_embd.weight"],
        kind: "F16",
    },
    Rule {
        architectures: &["deepseek2"],
        tensors: &[
            "attn_k_b.weight",
            "attn_q_a.weight",
            "attn_q_b.weight",
            "attn_v_b.weight",
            "attn_kv_a_mqa.weight",
        ],
        kind: "Q8_0",
    },
    Rule {
        architectures: &["glm4", "glmocr"],
        tensors: &["token_embd.weight", "output.weight"],
        kind: "F16",
    },
];

/// The tensors of a model that get another type than llama.cpp would choose for that file type.
pub(super) fn tensor_types(header: &Metadata, file_type: &str) -> Vec<TensorType> {
    let architecture = header.architecture();
    let mut rules = RULES.iter();
    let rule = rules.find(|rule| rule.architectures.contains(&architecture));
    let rule = rule.filter(|_| file_type.starts_with("Q4_K"));
    let kind = |tensor: &TensorInfo| {
        if EMBEDDED.iter().any(|start| tensor.name.starts_with(start)) {
            return Some(tensor.kind);
        }
        let rule = rule?;
        let applies = rule.tensors.contains(&without_block(&tensor.name));
        applies.then_some(rule.kind)
    };
    let types = header.tensors.iter().filter_map(|tensor| {
        Some(TensorType {
            name: tensor.name.clone(),
            code: TensorInfo::code(kind(tensor)?)?,
        })
    });
    types.collect()
}

/// `attn_q.weight` of `blk.3.attn_q.weight`.
fn without_block(name: &str) -> &str {
    let below = name
        .strip_prefix("blk.")
        .and_then(|rest| rest.split_once('.'));
    below.map_or(name, |(_, name)| name)
}
