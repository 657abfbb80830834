//! The same random weights in llama.cpp's layout and in that of Ollama's former engine, a pair for each family that the
//! reference data does not cover.

use serde_json::json;

use super::file::{E, FF, File, HEAD, N_EXPERT, N_HEAD, N_HEAD_KV, N_VOCAB};
use super::towers::{self, Tower};

/// A model in both layouts.
pub(super) struct Pair {
    pub(super) name: &'static str,
    pub(super) upstream: File,
    pub(super) projector: Option<File>,
    /// With the projector among the weights, if there is one.
    pub(super) ollama: File,
}

impl Pair {
    /// Adds an image encoder.
    pub(super) fn sees(mut self, tower: Tower) -> Self {
        self.ollama.add_all(&tower.ollama);
        for (key, value) in tower.keys {
            self.ollama.set(&key, value);
        }
        self.projector = Some(tower.upstream);
        self
    }
}

pub(super) fn pair(name: &'static str, upstream: File, change: impl FnOnce(&mut File)) -> Pair {
    let mut ollama = upstream.clone();
    change(&mut ollama);
    Pair {
        name,
        upstream,
        projector: None,
        ollama,
    }
}

pub(super) fn all() -> Vec<Pair> {
    let mut pairs = vec![lfm2(), olmo3(), laguna(), llama4(), gemma3n()];
    pairs.extend([gemma4(false), gemma4(true)]);
    pairs.extend([glm4moelite(), glmocr()]);
    pairs.extend([
        nemotron("nemotron_h_moe"),
        nemotron("nemotron_h_omni"),
        nemotron_dense(),
    ]);
    pairs
}

pub(super) const PRE: &str = "tokenizer.ggml.pre";

fn lfm2() -> Pair {
    let mut file = File::new("lfm2", 3);
    file.set(PRE, "lfm2");
    file.set(".attention.head_count_kv", json!([0, N_HEAD_KV, 0]));
    file.set(".shortconv.l_cache", 3);
    for layer in 0..3 {
        file.layer(layer, &[("attn_norm", &[E]), ("ffn_norm", &[E])]);
        file.dense(layer);
        if layer == 1 {
            file.attention(layer, HEAD);
            file.layer(layer, &[("attn_q_norm", &[HEAD]), ("attn_k_norm", &[HEAD])]);
        } else {
            file.layer(
                layer,
                &[
                    ("shortconv.in_proj.weight", &[E, 3 * E]),
                    ("shortconv.conv.weight", &[3, E]),
                    ("shortconv.out_proj.weight", &[E, E]),
                ],
            );
        }
    }
    file.rename("output_norm", "token_embd_norm");
    pair("lfm2", file, |file| {
        file.rename("token_embd_norm", "output_norm");
        file.set(PRE, "default");
        file.set(".feed_forward_length", FF + 8);
    })
}

fn olmo3() -> Pair {
    let mut file = File::new("olmo2", 4);
    file.set(PRE, "dbrx");
    file.set(".attention.sliding_window", 8);
    file.set(
        ".attention.sliding_window_pattern",
        json!([true, true, true, false]),
    );
    file.set_all(
        json!({".rope.scaling.type": "yarn", ".rope.scaling.factor": 8.0,
        ".rope.scaling.original_context_length": 32}),
    );
    for layer in 0..4 {
        file.attention(layer, HEAD);
        file.dense(layer);
        file.layer(
            layer,
            &[
                ("attn_q_norm", &[N_HEAD * HEAD]),
                ("attn_k_norm", &[N_HEAD_KV * HEAD]),
                ("post_attention_norm", &[E]),
                ("post_ffw_norm", &[E]),
            ],
        );
    }
    pair("olmo3", file, |file| file.rename_architecture("olmo3"))
}

fn laguna() -> Pair {
    let mut file = File::new("laguna", 4);
    file.set(PRE, "laguna");
    file.set_all(
        json!({".leading_dense_block_count": 1, ".attention.sliding_window": 8,
        ".expert_shared_feed_forward_length": FF, ".rope.dimension_count_swa": HEAD / 2,
        ".rope.freq_base_swa": 500.0}),
    );
    for layer in 0..4 {
        file.attention(layer, HEAD);
        file.layer(
            layer,
            &[
                ("attn_norm", &[E]),
                ("attn_q_norm", &[HEAD]),
                ("attn_k_norm", &[HEAD]),
                ("attn_gate", &[E, N_HEAD]),
                ("ffn_norm", &[E]),
            ],
        );
        if layer == 0 {
            file.dense(layer);
        } else {
            file.experts(layer);
            file.shared_expert(layer);
            file.layer(layer, &[("exp_probs_b.bias", &[N_EXPERT])]);
        }
    }
    pair("laguna", file, |file| {
        file.rename_key(".rope.dimension_count_swa", ".rope.swa.dimension_count");
        file.rename_key(".rope.freq_base_swa", ".rope.swa.freq_base");
        file.rename(".attn_gate.", ".attn_g.");
    })
}

fn llama4() -> Pair {
    let mut file = File::new("llama4", 4);
    file.set(PRE, "llama4");
    file.set(".interleave_moe_layer_step", 2);
    for layer in 0..4 {
        file.attention(layer, HEAD);
        file.layer(layer, &[("attn_norm", &[E]), ("ffn_norm", &[E])]);
        if layer % 2 == 0 {
            file.dense(layer);
        } else {
            file.experts(layer);
            file.shared_expert(layer);
        }
    }
    pair("llama4", file, |_| ()).sees(towers::llama4())
}

/// Sizes that are fixed in llama.cpp's code: the number of streams, and the widths of the low-rank part and of each
/// layer's own embeddings.
const N_ALTUP: u64 = 4;
const LAUREL: u64 = 64;
const PER_LAYER: u64 = 256;

fn gemma3n() -> Pair {
    const N_LAYERS: u64 = 2;
    let mut file = File::new("gemma3n", N_LAYERS).with_pieces("llama");
    file.set(".attention.sliding_window", 8);
    file.set(".attention.sliding_window_pattern", json!([true, false]));
    file.add("altup_proj.weight", &[E, E, N_ALTUP - 1]);
    file.add("altup_unembd_proj.weight", &[E, E, N_ALTUP - 1]);
    file.add(
        "per_layer_token_embd.weight",
        &[PER_LAYER * N_LAYERS, N_VOCAB],
    );
    file.add("per_layer_model_proj.weight", &[E, PER_LAYER * N_LAYERS]);
    file.add("per_layer_proj_norm.weight", &[PER_LAYER]);
    file.remove("output.weight");
    for layer in 0..N_LAYERS {
        file.attention(layer, HEAD);
        file.dense(layer);
        gemma_norms(&mut file, layer, HEAD);
        file.layer(
            layer,
            &[
                ("inp_gate", &[E, PER_LAYER]),
                ("proj", &[PER_LAYER, E]),
                ("post_norm", &[E]),
                ("altup_correct_coef", &[N_ALTUP, N_ALTUP]),
                ("altup_correct_scale", &[E]),
                ("altup_predict_coef", &[N_ALTUP, N_ALTUP * N_ALTUP]),
                ("altup_router", &[E, N_ALTUP]),
                ("altup_router_norm", &[E]),
                ("laurel_l", &[E, LAUREL]),
                ("laurel_r", &[LAUREL, E]),
                ("laurel_post_norm", &[E]),
            ],
        );
    }
    pair("gemma3n", file, |file| {
        file.lengthen("token_embd.weight", 3);
        for number in 0..3 {
            file.list("tokenizer.ggml.tokens")
                .push(format!("<extra{number}>").into());
            file.list("tokenizer.ggml.scores").push(0.5.into());
            file.list("tokenizer.ggml.token_type").push(1.into());
        }
        // Bytes are marked like other tokens.
        for kind in &mut file.list("tokenizer.ggml.token_type")[4..260] {
            *kind = 1.into();
        }
    })
}

fn gemma_norms(file: &mut File, layer: u64, head: u64) {
    file.layer(
        layer,
        &[
            ("attn_norm", &[E]),
            ("attn_q_norm", &[head]),
            ("attn_k_norm", &[head]),
            ("post_attention_norm", &[E]),
            ("ffn_norm", &[E]),
            ("post_ffw_norm", &[E]),
        ],
    );
}

fn gemma4(has_experts: bool) -> Pair {
    const N_LAYERS: u64 = 2;
    const OWN: u64 = 8;
    let mut file = File::new("gemma4", N_LAYERS).with_pieces("gemma4");
    file.set("tokenizer.ggml.merges", vec!["▁ p", "p 2"]);
    file.set_all(
        json!({".attention.key_length": 2 * HEAD, ".attention.value_length": 2 * HEAD,
        ".attention.key_length_swa": HEAD, ".attention.value_length_swa": HEAD,
        ".rope.dimension_count": 2 * HEAD, ".rope.dimension_count_swa": HEAD,
        ".attention.sliding_window": 8, ".attention.sliding_window_pattern": [true, false],
        ".embedding_length_per_layer_input": OWN}),
    );
    file.add("per_layer_token_embd.weight", &[OWN * N_LAYERS, N_VOCAB]);
    file.add("per_layer_model_proj.weight", &[E, OWN * N_LAYERS]);
    file.add("per_layer_proj_norm.weight", &[OWN]);
    file.add("rope_freqs.weight", &[HEAD]);
    for (layer, head) in [(0, HEAD), (1, 2 * HEAD)] {
        file.attention(layer, head);
        file.dense(layer);
        gemma_norms(&mut file, layer, head);
        file.layer(
            layer,
            &[
                ("layer_output_scale", &[1]),
                ("inp_gate", &[E, OWN]),
                ("proj", &[OWN, E]),
                ("post_norm", &[E]),
            ],
        );
        if has_experts {
            file.experts(layer);
            file.layer(
                layer,
                &[
                    ("ffn_gate_inp.scale", &[E]),
                    ("ffn_down_exps.scale", &[N_EXPERT]),
                    ("pre_ffw_norm_2", &[E]),
                    ("post_ffw_norm_1", &[E]),
                    ("post_ffw_norm_2", &[E]),
                ],
            );
        }
    }
    let name = if has_experts {
        "gemma4 with experts"
    } else {
        "gemma4"
    };
    pair(name, file, |file| {
        file.set("tokenizer.ggml.model", "llama");
        if has_experts {
            file.rename(".ffn_down_exps.scale", ".ffn_gate_inp.per_expert_scale");
        }
        file.add_others(&["model.vision_tower."]);
    })
    .sees(towers::gemma4())
}

/// GLM 4.7 Flash, which llama.cpp computes like `DeepSeek` 2.
fn glm4moelite() -> Pair {
    const RANK: u64 = 32;
    const ROTATED: u64 = 8;
    const WHOLE: u64 = 24;
    let mut file = File::new("deepseek2", 2);
    file.set(PRE, "glm4");
    file.set_all(
        json!({".attention.head_count_kv": 1, ".attention.key_length": RANK + ROTATED,
        ".attention.value_length": RANK, ".attention.key_length_mla": WHOLE,
        ".attention.value_length_mla": WHOLE, ".attention.q_lora_rank": RANK,
        ".attention.kv_lora_rank": RANK, ".rope.dimension_count": ROTATED,
        ".leading_dense_block_count": 1, ".expert_shared_count": 1, ".expert_gating_func": 2,
        ".expert_weights_scale": 1.75, ".expert_weights_norm": true, ".expert_group_count": 1,
        ".expert_group_used_count": 1}),
    );
    for layer in 0..2 {
        file.layer(
            layer,
            &[
                ("attn_norm", &[E]),
                ("attn_q_a", &[E, RANK]),
                ("attn_q_a_norm", &[RANK]),
                ("attn_q_b", &[RANK, N_HEAD * WHOLE]),
                ("attn_kv_a_mqa", &[E, RANK + ROTATED]),
                ("attn_kv_a_norm", &[RANK]),
                ("attn_k_b", &[WHOLE - ROTATED, RANK, N_HEAD]),
                ("attn_v_b", &[RANK, WHOLE, N_HEAD]),
                ("attn_output", &[N_HEAD * WHOLE, E]),
                ("ffn_norm", &[E]),
            ],
        );
        if layer == 0 {
            file.dense(layer);
        } else {
            file.experts(layer);
            file.shared_expert(layer);
            file.layer(layer, &[("exp_probs_b.bias", &[N_EXPERT])]);
        }
    }
    pair("glm4moelite", file, |file| {
        file.rename_architecture("glm4moelite");
        file.unset(&[".attention.key_length_mla", ".attention.value_length_mla"]);
        file.unset(&[".expert_group_count", ".expert_group_used_count"]);
        file.set_all(
            json!({".attention.head_count_kv": N_HEAD, ".attention.key_length": WHOLE,
            ".attention.value_length": WHOLE}),
        );
        file.set(PRE, "default");
        file.set("tokenizer.ggml.eos_token_ids", vec![256, 257, 258]);
    })
}

fn glmocr() -> Pair {
    let mut file = File::new("glm4", 2);
    file.set(PRE, "chatglm-bpe");
    file.set(".rope.dimension_sections", vec![4, 2, 2, 0]);
    for layer in 0..2 {
        file.attention(layer, HEAD);
        file.layer(
            layer,
            &[
                ("attn_norm", &[E]),
                ("post_attention_norm", &[E]),
                ("ffn_norm", &[E]),
                ("post_ffw_norm", &[E]),
                ("ffn_up", &[E, 2 * FF]),
                ("ffn_down", &[FF, E]),
            ],
        );
    }
    pair("glmocr", file, |file| {
        file.rename_architecture("glmocr");
        file.unset(&[".rope.dimension_sections", ".rope.dimension_count"]);
        file.set(".rope.mrope_section", vec![4, 2, 2]);
        file.set(PRE, "gpt-2");
        file.rename(".attn_output.", ".attn_out.");
        file.rename(".post_attention_norm.", ".post_attn_norm.");
        file.rename(".post_ffw_norm.", ".post_ffn_norm.");
        for layer in 0..2 {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            let (gate, up) = (name("ffn_gate"), name("ffn_up"));
            file.cut(&up, &[&gate, &up]);
        }
    })
    .sees(towers::glmocr())
}

pub(super) fn deepseekocr() -> Pair {
    let mut file = File::new("deepseek2-ocr", 2);
    file.set(PRE, "deepseek-llm");
    file.set_all(
        json!({".attention.head_count_kv": N_HEAD, ".leading_dense_block_count": 1,
        ".expert_shared_count": 1}),
    );
    for layer in 0..2 {
        let square: &[u64] = &[E, E];
        file.layer(
            layer,
            &[
                ("attn_norm", &[E]),
                ("ffn_norm", &[E]),
                ("attn_q", square),
                ("attn_k", square),
                ("attn_v", square),
                ("attn_output", square),
            ],
        );
        if layer == 0 {
            file.dense(layer);
        } else {
            file.experts(layer);
            file.shared_expert(layer);
        }
    }
    pair("deepseekocr", file, |file| {
        file.rename_architecture("deepseekocr");
        file.unset(&[
            ".attention.layer_norm_rms_epsilon",
            ".expert_feed_forward_length",
        ]);
        file.unset(&[".expert_shared_count"]);
    })
    .sees(towers::deepseekocr())
}

/// Layers with a state, with a feed-forward network and with attention, in that order.
fn nemotron_layers(architecture: &str) -> File {
    const STATE: u64 = 16;
    const GROUPS: u64 = 2;
    const CONV: u64 = E + 2 * GROUPS * STATE;
    let mut file = File::new(architecture, 3);
    file.set(PRE, "pixtral");
    file.set_all(json!({".feed_forward_length": [0, FF, 0],
        ".attention.head_count": [N_HEAD, N_HEAD, N_HEAD],
        ".attention.head_count_kv": [0, 0, N_HEAD_KV], ".attention.layer_norm_epsilon": 1e-6,
        ".ssm.conv_kernel": 4, ".ssm.inner_size": E, ".ssm.state_size": STATE,
        ".ssm.time_step_rank": N_HEAD, ".ssm.group_count": GROUPS}));
    file.layer(
        0,
        &[
            ("ssm_in", &[E, E + CONV + N_HEAD]),
            ("ssm_conv1d", &[4, CONV]),
            ("ssm_conv1d.bias", &[CONV]),
            ("ssm_dt.bias", &[N_HEAD]),
            ("ssm_a", &[1, N_HEAD]),
            ("ssm_d", &[1, N_HEAD]),
            ("ssm_norm", &[E / GROUPS, GROUPS]),
            ("ssm_out", &[E, E]),
        ],
    );
    file.attention(2, HEAD);
    for layer in 0..3 {
        file.layer(layer, &[("attn_norm", &[E])]);
    }
    file
}

/// With experts narrower than the model, alone and with encoders.
fn nemotron(name: &'static str) -> Pair {
    const LATENT: u64 = 32;
    let mut file = nemotron_layers("nemotron_h_moe");
    file.set_all(json!({".expert_count": N_EXPERT, ".expert_used_count": 2,
        ".expert_feed_forward_length": FF, ".expert_shared_feed_forward_length": FF,
        ".expert_weights_scale": 1.0, ".moe_latent_size": LATENT}));
    file.layer(
        1,
        &[
            ("ffn_gate_inp", &[E, N_EXPERT]),
            ("exp_probs_b.bias", &[N_EXPERT]),
            ("ffn_latent_down", &[E, LATENT]),
            ("ffn_latent_up", &[LATENT, E]),
            ("ffn_up_exps", &[LATENT, FF, N_EXPERT]),
            ("ffn_down_exps", &[FF, LATENT, N_EXPERT]),
            ("ffn_up_shexp", &[E, FF]),
            ("ffn_down_shexp", &[FF, E]),
        ],
    );
    pair(name, file, |file| {
        file.unset(&[".moe_latent_size"]);
        file.rename(".ffn_latent_down.", ".ffn_latent_in.");
        file.rename(".ffn_latent_up.", ".ffn_latent_out.");
        file.rename_architecture(name);
        if name == "nemotron_h_omni" {
            file.add_others(&["v.", "mm.", "a."]);
        }
        file.add("mtp.layers.0.norm.weight", &[E]);
    })
}

fn nemotron_dense() -> Pair {
    let mut file = nemotron_layers("nemotron_h");
    file.layer(1, &[("ffn_up", &[E, FF]), ("ffn_down", &[FF, E])]);
    pair("nemotron_h_omni without experts", file, |file| {
        file.rename_architecture("nemotron_h_omni");
        file.add_others(&["v.", "mm.", "a."]);
    })
}
