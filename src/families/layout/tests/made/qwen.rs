//! Pairs of the family's newer models: vision models, and hybrids of attention and states.

use serde_json::json;

use super::file::{E, FF, File, HEAD, N_HEAD, N_HEAD_KV};
use super::pairs::{PRE, Pair, pair};
use super::towers;

pub(super) fn all() -> [Pair; 6] {
    [
        qwen3vl(),
        qwen3vlmoe(),
        qwen3next(),
        qwen35("qwen35"),
        qwen35("qwen35moe"),
        drafting_qwen35(),
    ]
}

/// The sections of its rotary positions need heads of that size.
const VL_HEAD: u64 = 64;

fn qwen3vl_layers(architecture: &str) -> File {
    let mut file = File::new(architecture, 2);
    file.set(PRE, "qwen2");
    file.set_all(
        json!({".attention.key_length": VL_HEAD, ".attention.value_length": VL_HEAD,
        ".rope.dimension_count": VL_HEAD, ".rope.dimension_sections": [24, 20, 20, 0],
        ".n_deepstack_layers": 1}),
    );
    for layer in 0..2 {
        file.attention(layer, VL_HEAD);
        file.layer(
            layer,
            &[
                ("attn_norm", &[E]),
                ("attn_q_norm", &[VL_HEAD]),
                ("attn_k_norm", &[VL_HEAD]),
                ("ffn_norm", &[E]),
            ],
        );
    }
    file
}

fn without_sections(file: &mut File) {
    file.unset(&[".rope.dimension_sections", ".n_deepstack_layers"]);
}

fn qwen3vl() -> Pair {
    let mut file = qwen3vl_layers("qwen3vl");
    (0..2).for_each(|layer| file.dense(layer));
    pair("qwen3vl", file, without_sections).sees(towers::qwen3vl())
}

fn qwen3vlmoe() -> Pair {
    let mut file = qwen3vl_layers("qwen3vlmoe");
    (0..2).for_each(|layer| file.experts(layer));
    pair("qwen3vlmoe", file, without_sections).sees(towers::qwen3vl())
}

/// Three layers with a state, then one with attention.
fn hybrid_layers(architecture: &str) -> File {
    const STATE: u64 = 16;
    const GROUPS: u64 = 2;
    const QKV: u64 = 2 * GROUPS * STATE + N_HEAD * STATE;
    let mut file = File::new(architecture, 4);
    file.set(PRE, "qwen35");
    file.set_all(
        json!({".ssm.conv_kernel": 4, ".ssm.inner_size": N_HEAD * STATE,
        ".ssm.state_size": STATE, ".ssm.time_step_rank": N_HEAD, ".ssm.group_count": GROUPS}),
    );
    for layer in 0..4 {
        file.layer(layer, &[("attn_norm", &[E]), ("post_attention_norm", &[E])]);
        if layer == 3 {
            gated_attention(&mut file, layer);
            continue;
        }
        file.layer(
            layer,
            &[
                ("attn_qkv", &[E, QKV]),
                ("attn_gate", &[E, N_HEAD * STATE]),
                ("ssm_conv1d", &[4, QKV]),
                ("ssm_dt.bias", &[N_HEAD]),
                ("ssm_a", &[N_HEAD]),
                ("ssm_norm", &[STATE]),
                ("ssm_out", &[N_HEAD * STATE, E]),
            ],
        );
        if architecture == "qwen3next" {
            file.layer(layer, &[("ssm_ba", &[E, 2 * N_HEAD])]);
        } else {
            file.layer(
                layer,
                &[("ssm_alpha", &[E, N_HEAD]), ("ssm_beta", &[E, N_HEAD])],
            );
        }
    }
    file
}

/// Adds a gate to each head's queries.
fn gated_attention(file: &mut File, layer: u64) {
    file.layer(
        layer,
        &[
            ("attn_q", &[E, 2 * N_HEAD * HEAD]),
            ("attn_k", &[E, N_HEAD_KV * HEAD]),
            ("attn_v", &[E, N_HEAD_KV * HEAD]),
            ("attn_output", &[N_HEAD * HEAD, E]),
            ("attn_q_norm", &[HEAD]),
            ("attn_k_norm", &[HEAD]),
        ],
    );
}

fn all_experts(file: &mut File) {
    file.set(".expert_shared_feed_forward_length", FF);
    for layer in 0..4 {
        file.experts(layer);
        file.shared_expert(layer);
        file.layer(layer, &[("ffn_gate_inp_shexp", &[E])]);
    }
}

fn qwen3next() -> Pair {
    let mut file = hybrid_layers("qwen3next");
    all_experts(&mut file);
    pair("qwen3next", file, |file| {
        file.set(".attention.head_count_kv", vec![0, 0, 0, N_HEAD_KV]);
        file.rename(".ssm_dt.bias", ".ssm_dt");
    })
}

fn qwen35_layers(name: &str) -> File {
    let mut file = hybrid_layers(name);
    file.set(".rope.dimension_sections", vec![3, 3, 2, 0]);
    if name == "qwen35moe" {
        file.unset(&[".feed_forward_length"]);
        all_experts(&mut file);
    } else {
        (0..4).for_each(|layer| file.dense(layer));
    }
    file
}

fn as_qwen35(file: &mut File) {
    file.set(".attention.head_count_kv", vec![0, 0, 0, N_HEAD_KV]);
    file.set(".rope.dimension_sections", vec![3, 3, 2]);
    file.set(".rope.mrope_interleaved", true);
    file.rename(".ssm_dt.bias", ".ssm_dt");
    file.add_others(&["mtp.layers.0."]);
}

fn qwen35(name: &'static str) -> Pair {
    pair(name, qwen35_layers(name), as_qwen35).sees(towers::qwen35())
}

/// A file with a draft layer, under llama.cpp's names: its weights stay in the file, and the answers are those of the
/// other layers.
fn drafting_qwen35() -> Pair {
    pair(
        "qwen35 with a draft layer",
        qwen35_layers("qwen35"),
        |file| {
            file.set(".block_count", 5);
            file.set(".nextn_predict_layers", 1);
            gated_attention(file, 4);
            file.dense(4);
            file.layer(
                4,
                &[
                    ("attn_norm", &[E]),
                    ("post_attention_norm", &[E]),
                    ("nextn.eh_proj.weight", &[2 * E, E]),
                    ("nextn.enorm.weight", &[E]),
                    ("nextn.hnorm.weight", &[E]),
                    ("nextn.shared_head_norm.weight", &[E]),
                ],
            );
            file.set(
                ".attention.head_count_kv",
                vec![0, 0, 0, N_HEAD_KV, N_HEAD_KV],
            );
            file.set(".rope.dimension_sections", vec![3, 3, 2]);
            file.set(".rope.mrope_interleaved", true);
            file.rename(".ssm_dt.bias", ".ssm_dt");
        },
    )
}
