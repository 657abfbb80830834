//! Headers of families without a pair of files: the results of their translation.

use std::io::{Cursor, Read as _};
use std::path::Path;

use serde_json::{Value, json};

use super::{check, has_projector, is_foreign, projector, to_quantize, weights};
use crate::model::gguf::builder::GgufBuilder;
use crate::model::gguf::{Metadata, check_projector};
use crate::view::{Form, HeaderOnly, Reader};

/// A header, and what its translation must contain.
struct Case {
    /// For messages and seeds.
    name: &'static str,
    file: GgufBuilder,
    /// Keys of the translated weights, and tensors with their shapes; a tensor that must be absent has no shape.
    becomes: Value,
    /// The same for the projector; null = there is none.
    sees: Value,
}

fn file(architecture: &str, keys: Value, tensors: &[(&str, &str, &[u64])]) -> GgufBuilder {
    let mut file = GgufBuilder::new(architecture)
        .value(&format!("{architecture}.block_count"), 1)
        .value(&format!("{architecture}.embedding_length"), 32)
        .value(&format!("{architecture}.context_length"), 64)
        .value(&format!("{architecture}.attention.head_count"), 2);
    for (key, value) in keys.as_object().unwrap() {
        let key = if key.starts_with('.') {
            format!("{architecture}{key}")
        } else {
            key.clone()
        };
        file = file.value(&key, value.clone());
    }
    for (name, kind, shape) in tensors {
        file = file.tensor(name, kind, shape);
    }
    file
}

fn gemma3n() -> Case {
    let tokens = ["<pad>", "<eos>", "<0x0A>", "<unused7>", "a", "b"];
    Case {
        name: "gemma3n",
        file: file(
            "gemma3n",
            json!({"tokenizer.ggml.model": "gemma", "tokenizer.ggml.tokens": tokens,
                "tokenizer.ggml.scores": [0.0, 0.5, 0.5, 0.5, 0.5, 0.5],
                "tokenizer.ggml.token_type": [3, 3, 1, 3, 1, 1]}),
            &[
                ("per_layer_token_embd.weight", "F16", &[8, 5]),
                ("token_embd.weight", "F16", &[32, 6]),
            ],
        ),
        becomes: json!({"tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": ["<pad>", "<eos>", "<0x0A>", "<unused7>", "a"],
            "tokenizer.ggml.token_type": [3, 3, 6, 1, 1],
            "tokenizer.ggml.eos_token_ids": [1, 106],
            "token_embd.weight": [32, 5]}),
        sees: Value::Null,
    }
}

fn gemma4() -> Case {
    Case {
        name: "gemma4",
        file: file(
            "gemma4",
            json!({"tokenizer.ggml.model": "llama", ".block_count": 2,
                ".vision.block_count": 1, ".vision.embedding_length": 8,
                ".vision.feed_forward_length": 12, ".vision.attention.head_count": 2,
                ".vision.attention.layer_norm_epsilon": 0.5, ".vision.patch_size": 4,
                ".audio.block_count": 1, ".audio.embedding_length": 8, ".audio.feed_forward_length": 12,
                ".audio.attention.head_count": 2}),
            &[
                ("token_embd.weight", "F16", &[32, 6]),
                ("blk.0.ffn_gate_inp.per_expert_scale", "F32", &[4]),
                ("v.patch_embd.weight", "F16", &[4, 4, 3, 8]),
                ("v.clamp_data", "F32", &[32]),
                ("a.pre_encode.out.weight", "F16", &[8, 8]),
                ("mm.a.fc.weight", "F16", &[8, 32]),
                ("a.blk.0.ln1.weight", "F32", &[8]),
                ("a.blk.0.ln2.weight", "F32", &[8]),
                ("a.blk.0.layer_pre_norm.weight", "F32", &[8]),
                ("a.blk.0.linear_pos.weight", "F16", &[8, 8]),
                ("mm.input_projection.weight", "F16", &[8, 32]),
            ],
        ),
        becomes: json!({"tokenizer.ggml.model": "gemma4", "blk.0.ffn_down_exps.scale": [4],
            "v.clamp_data": null, "a.pre_encode.out.weight": null, "token_embd.weight": [32, 6]}),
        sees: json!({"clip.vision.projector_type": "gemma4v", "clip.audio.projector_type": "gemma4a",
            "clip.has_audio_encoder": true, "clip.audio.num_mel_bins": 128, "clip.vision.projection_dim": 32,
            "v.blk.0.attn_q.input_min": [1], "v.blk.0.ffn_down.output_max": [1],
            "mm.input_projection.output_max": [1], "v.clamp_data": null,
            "a.input_projection.weight": [8, 8], "a.pre_encode.out.weight": [8, 32],
            "a.blk.0.attn_pre_norm.weight": [8], "a.blk.0.attn_post_norm.weight": [8],
            "a.blk.0.ln2.weight": [8], "a.blk.0.attn_k_rel.weight": [8, 8], "a.blk.0.ln1.weight": null}),
    }
}

/// The image encoder of Qwen 3 VL and 3.5: with patches of two images in time, and separate queries, keys and values.
const QWEN3_ENCODER: [(&str, &str, &[u64]); 12] = [
    ("token_embd.weight", "F16", &[32, 6]),
    ("v.blk.0.attn_q.weight", "F16", &[8, 8]),
    ("v.blk.0.attn_k.weight", "F16", &[8, 8]),
    ("v.blk.0.attn_v.weight", "F32", &[8, 8]),
    ("v.blk.0.attn_q.bias", "F32", &[8]),
    ("v.blk.0.attn_k.bias", "F32", &[8]),
    ("v.blk.0.attn_v.bias", "F32", &[8]),
    ("v.blk.0.mlp.linear_fc1.weight", "F16", &[8, 12]),
    ("v.patch_embed.weight", "F16", &[4, 4, 2, 24]),
    ("v.pos_embed.weight", "F16", &[8, 16]),
    ("v.merger.norm.weight", "F32", &[8]),
    ("v.deepstack_merger.0.linear_fc1.weight", "F16", &[8, 8]),
];

fn qwen3_encoder() -> Value {
    json!({"clip.vision.projector_type": "qwen3vl_merger", "clip.vision.feed_forward_length": 12,
        "v.blk.0.attn_qkv.weight": [8, 24], "v.blk.0.attn_qkv.bias": [24], "v.blk.0.attn_q.weight": null,
        "v.patch_embd.weight": [4, 4, 3, 8], "v.patch_embd.weight.1": [4, 4, 3, 8],
        "v.position_embd.weight": [8, 16], "v.post_ln.weight": [8], "v.blk.0.ffn_up.weight": [8, 12]})
}

fn with(mut object: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    object.as_object_mut().unwrap().extend(more);
    object
}

fn qwen() -> Vec<Case> {
    let encoder = json!({".vision.block_count": 1, ".vision.embedding_length": 8,
        ".vision.attention.head_count": 2, ".vision.patch_size": 4, ".vision.spatial_merge_size": 2});
    let deepstack = json!({".vision.deepstack_visual_indexes": [0], ".attention.key_length": 64});
    let moved = json!({".attention.head_count_kv": [2], ".rope.dimension_sections": [3, 3, 2],
        ".rope.mrope_interleaved": true});
    vec![
        Case {
            name: "qwen3vl",
            file: file("qwen3vl", with(encoder.clone(), deepstack), &QWEN3_ENCODER),
            becomes: json!({"qwen3vl.rope.dimension_sections": [24, 20, 20, 0],
                "qwen3vl.n_deepstack_layers": 1, "v.pos_embed.weight": null}),
            sees: with(
                qwen3_encoder(),
                json!({"clip.vision.image_size": 16, "clip.vision.is_deepstack_layers": [true],
                    "v.deepstack.0.fc1.weight": [8, 8]}),
            ),
        },
        Case {
            name: "qwen35",
            file: file("qwen35", with(encoder, moved), &QWEN3_ENCODER)
                .value("qwen35.block_count", 4)
                .value("qwen35.attention.head_count_kv", vec![0, 0, 0, 2])
                .tensor("blk.0.ssm_dt", "F32", &[4])
                .tensor("mtp.fc.weight", "F16", &[8, 8]),
            becomes: json!({"qwen35.attention.head_count_kv": 2,
                "qwen35.rope.dimension_sections": [3, 3, 2, 0], "blk.0.ssm_dt.bias": [4],
                "mtp.fc.weight": null}),
            sees: with(
                qwen3_encoder(),
                json!({"clip.vision.image_size": 768, "clip.vision.is_deepstack_layers": [false]}),
            ),
        },
        Case {
            name: "qwen3next",
            file: file(
                "qwen3next",
                json!({".block_count": 2, ".attention.head_count_kv": [0, 2]}),
                &[("blk.0.ssm_dt", "F32", &[4])],
            ),
            becomes: json!({"qwen3next.attention.head_count_kv": 2, "blk.0.ssm_dt.bias": [4]}),
            sees: Value::Null,
        },
    ]
}

fn llama() -> Vec<Case> {
    let mut tokens: Vec<String> = (0..128_010).map(|id| format!("t{id}")).collect();
    "<|eot_id|>".clone_into(&mut tokens[128_009]);
    "<|start_header_id|>".clone_into(&mut tokens[128_006]);
    vec![
        Case {
            name: "llama3",
            file: file(
                "llama",
                json!({"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.eos_token_id": 128_001}),
                &[("token_embd.weight", "F16", &[32, 6])],
            ),
            becomes: json!({"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.eos_token_id": 128_009,
                "tokenizer.ggml.eot_token_id": 128_009}),
            sees: Value::Null,
        },
        Case {
            name: "llama4",
            file: file(
                "llama4",
                json!({".vision.block_count": 1, ".vision.embedding_length": 8,
                    ".vision.feed_forward_length": 12, ".vision.attention.head_count": 2,
                    ".vision.image_size": 8, ".vision.patch_size": 4, ".vision.layer_norm_epsilon": 0.5,
                    ".vision.pixel_shuffle_ratio": 0.25}),
                &[
                    ("token_embd.weight", "F16", &[32, 6]),
                    ("v.positional_embedding_vlm", "F16", &[8, 5]),
                    ("v.vision_adapter.mlp.fc1.weight", "F16", &[8, 8]),
                    ("mm.linear_1.weight", "F16", &[8, 32]),
                    ("v.class_embedding", "F32", &[8]),
                    ("v.blk.0.attn_output.weight", "F16", &[8, 8]),
                ],
            ),
            becomes: json!({"mm.linear_1.weight": null, "token_embd.weight": [32, 6]}),
            sees: json!({"clip.vision.projector_type": "llama4", "clip.vision.projector.scale_factor": 4,
                "v.position_embd.weight": [8, 5], "mm.model.mlp.1.weight": [8, 8],
                "mm.model.fc.weight": [8, 32], "v.class_embd": [8], "v.blk.0.attn_out.weight": [8, 8]}),
        },
    ]
}

fn glm_and_deepseek() -> Vec<Case> {
    vec![
        Case {
            name: "glm4moelite",
            file: file(
                "glm4moelite",
                json!({".attention.kv_lora_rank": 16, ".rope.dimension_count": 8,
                    ".attention.key_length": 24, ".expert_count": 4, ".expert_used_count": 2, "tokenizer.ggml.eos_token_ids": [1, 2, 3]}),
                &[],
            ),
            becomes: json!({"general.architecture": "deepseek2", "deepseek2.attention.head_count_kv": 1,
                "deepseek2.attention.key_length": 24, "deepseek2.attention.value_length": 16,
                "deepseek2.attention.key_length_mla": 24, "deepseek2.expert_group_used_count": 1,
                "tokenizer.ggml.pre": "glm4", "tokenizer.ggml.eot_token_id": 2,
                "tokenizer.ggml.eom_token_id": 3}),
            sees: Value::Null,
        },
        Case {
            name: "glmocr",
            file: file(
                "glmocr",
                json!({".rope.mrope_section": [4, 2, 2], ".attention.key_length": 16,
                    "tokenizer.ggml.pre": "x", ".vision.block_count": 1, ".vision.embedding_length": 8,
                    ".vision.attention.head_count": 2, ".vision.image_size": 8, ".vision.patch_size": 4,
                    ".vision.spatial_merge_size": 2, ".vision.intermediate_size": 12,
                    ".vision.out_hidden_size": 32}),
                &[
                    ("blk.0.ffn_gate.weight", "Q8_0", &[32, 8]),
                    ("blk.0.ffn_up.weight", "Q8_0", &[32, 8]),
                    ("blk.0.attn_out.weight", "F16", &[32, 32]),
                    ("v.patch_embd_0.weight", "F16", &[4, 4, 3, 8]),
                    ("v.patch_embd_1.weight", "F16", &[4, 4, 3, 8]),
                ],
            ),
            becomes: json!({"general.architecture": "glm4", "glm4.rope.dimension_sections": [4, 2, 2, 0],
                "glm4.rope.dimension_count": 16, "tokenizer.ggml.pre": "chatglm-bpe",
                "blk.0.ffn_up.weight": [32, 16], "blk.0.ffn_gate.weight": null,
                "blk.0.attn_output.weight": [32, 32]}),
            sees: json!({"clip.vision.projector_type": "glm4v", "clip.vision.projection_dim": 32,
                "v.patch_embd.weight": [4, 4, 3, 8], "v.patch_embd.weight.1": [4, 4, 3, 8]}),
        },
        Case {
            name: "deepseekocr",
            file: file(
                "deepseekocr",
                json!({".vision.block_count": 1, ".vision.embedding_length": 8, ".vision.image_size": 8,
                    ".vision.patch_size": 4, ".vision.head_count": 2, ".sam.block_count": 3,
                    ".sam.embedding_length": 8, ".sam.head_count": 2}),
                &[
                    ("blk.1.ffn_down_exps.weight", "F16", &[4, 32, 2]),
                    ("blk.1.ffn_down_shexp.weight", "F16", &[8, 32]),
                    ("s.position_embd", "F16", &[8, 2, 2]),
                    ("s.blk.0.attn.rel_pos_h", "F16", &[4, 3]),
                    ("s.blk.0.norm1.weight", "F32", &[8]),
                    ("v.blk.0.layer_norm1.weight", "F32", &[8]),
                    ("v.pre_layrnorm.weight", "F32", &[8]),
                    ("mm.layers.weight", "F16", &[8, 32]),
                    ("mm.view_seperator", "F32", &[32]),
                ],
            ),
            becomes: json!({"general.architecture": "deepseek2-ocr",
                "deepseek2-ocr.expert_feed_forward_length": 4, "deepseek2-ocr.expert_shared_count": 2,
                "s.position_embd": null}),
            sees: json!({"clip.vision.projector_type": "deepseekocr", "v.sam.pos_embd.weight": [8, 2, 2],
                "v.sam.blk.0.attn.pos_h.weight": [4, 3], "v.sam.blk.0.pre_ln.weight": [8],
                "v.blk.0.ln1.weight": [8], "v.pre_ln.weight": [8], "mm.model.fc.weight": [8, 32],
                "v.view_seperator": [32]}),
        },
    ]
}

fn others() -> Vec<Case> {
    vec![
        Case {
            name: "lfm2",
            file: file(
                "lfm2",
                json!({".feed_forward_length": 99}),
                &[
                    ("output_norm.weight", "F32", &[32]),
                    ("blk.0.ffn_gate.weight", "F16", &[32, 48]),
                ],
            ),
            becomes: json!({"lfm2.feed_forward_length": 48, "tokenizer.ggml.pre": "lfm2",
                "token_embd_norm.weight": [32], "output_norm.weight": null}),
            sees: Value::Null,
        },
        Case {
            name: "olmo3",
            file: file("olmo3", json!({}), &[]),
            becomes: json!({"general.architecture": "olmo2", "olmo2.block_count": 1}),
            sees: Value::Null,
        },
        Case {
            name: "laguna",
            file: file(
                "laguna",
                json!({".rope.swa.freq_base": 0.5}),
                &[("blk.0.attn_g.weight", "F16", &[32, 2])],
            ),
            becomes: json!({"laguna.rope.freq_base_swa": 0.5, "blk.0.attn_gate.weight": [32, 2]}),
            sees: Value::Null,
        },
        Case {
            name: "nemotron_h_omni",
            file: file(
                "nemotron_h_omni",
                json!({".expert_count": 4, ".expert_used_count": 2}),
                &[
                    ("blk.0.ffn_latent_in.weight", "F16", &[32, 8]),
                    ("v.cls_embd", "F16", &[8]),
                    ("a.x.weight", "F16", &[8]),
                ],
            ),
            becomes: json!({"general.architecture": "nemotron_h_moe",
                "nemotron_h_moe.moe_latent_size": 8, "blk.0.ffn_latent_down.weight": [32, 8],
                "v.cls_embd": null, "a.x.weight": null}),
            sees: Value::Null,
        },
        Case {
            name: "snowflake",
            file: file(
                "bert",
                json!({"tokenizer.ggml.model": "t5",
                    "tokenizer.ggml.precompiled_charsmap": ["A", "Q", "I", "D"]}),
                &[],
            ),
            becomes: json!({"tokenizer.ggml.precompiled_charsmap": [1, 2, 3]}),
            sees: Value::Null,
        },
        Case {
            name: "llava",
            file: GgufBuilder::new("clip").value("clip.has_vision_encoder", true),
            becomes: json!({"clip.projector_type": "mlp"}),
            sees: Value::Null,
        },
        Case {
            name: "mistral3",
            file: file(
                "mistral3",
                json!({".rope.scaling.type": "", ".rope.scaling.beta_fast": 32.0,
                    ".rope.scaling.mscale_all_dim": 1.0}),
                &[],
            ),
            becomes: json!({"mistral3.rope.scaling.yarn_beta_fast": 32.0,
                "mistral3.rope.scaling.yarn_log_multiplier": 1.0, "mistral3.rope.scaling.type": null,
                "tokenizer.ggml.pre": "tekken"}),
            sees: Value::Null,
        },
    ]
}

fn cases() -> Vec<Case> {
    let lists = [
        vec![gemma3n(), gemma4()],
        qwen(),
        llama(),
        glm_and_deepseek(),
        others(),
    ];
    lists.into_iter().flatten().collect()
}

#[track_caller]
fn compare(name: &str, header: &Metadata, wanted: &Value) {
    for (key, wanted) in wanted.as_object().unwrap() {
        let shape = header.tensor(key).map(|tensor| json!(tensor.shape));
        let value = || serde_json::to_value(header.values.get(key.as_str())).unwrap();
        let found = shape.unwrap_or_else(value);
        assert_eq!(&found, wanted, "{name}: {key}");
    }
}

#[test]
fn headers_become_what_llama_cpp_wants() {
    let path = Path::new("model");
    for case in cases() {
        let name = case.name;
        let bytes = case.file.build();
        let mut file = Cursor::new(bytes.as_slice());
        let original = Metadata::read(&mut file).unwrap();
        assert!(is_foreign(&original), "{name}");
        check(path, &mut file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let ours = weights(path, &mut file).unwrap();
        compare(name, &ours.metadata, &case.becomes);
        assert_eq!(has_projector(&original), !case.sees.is_null(), "{name}");
        if has_projector(&original) {
            let ours = projector(path, &mut file).unwrap_or_else(|error| panic!("{name}: {error}"));
            compare(name, &ours.metadata, &case.sees);
            check_projector(&ours.metadata).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        // The quantized file keeps the encoder, and is translated like the original.
        let kept = to_quantize(path, &mut file).unwrap();
        if let (Form::View(view), true) = (&kept.form, has_projector(&original)) {
            let mut quantized = Vec::new();
            let mut reader = Reader::new(bytes.as_slice(), view, HeaderOnly);
            reader.read_to_end(&mut quantized).unwrap();
            let mut file = Cursor::new(quantized.as_slice());
            compare(
                name,
                &weights(path, &mut file).unwrap().metadata,
                &case.becomes,
            );
            compare(
                name,
                &projector(path, &mut file).unwrap().metadata,
                &case.sees,
            );
        }
        // Where overrides are enough, the file itself is loaded and mapped.
        let is_whole = matches!(ours.file.form, Form::Overrides(_));
        assert_eq!(is_whole, name == "llama3", "{name}");
        // A file that ends too early, or lacks what its model needs, is refused without a panic.
        for length in (0..bytes.len().saturating_sub(64).min(4096)).step_by(7) {
            let mut cut = Cursor::new(&bytes[..length]);
            assert!(check(path, &mut cut).is_err(), "{name}: {length}");
        }
    }
}

/// An adapter has the name of its model's architecture, but not its keys and tensors.
#[test]
fn adapters_are_nobodys_layout() {
    let path = Path::new("adapter");
    for case in cases() {
        let model = Metadata::read(&mut Cursor::new(case.file.build())).unwrap();
        let adapter = GgufBuilder::new(model.architecture())
            .value("general.type", "adapter")
            .value("adapter.type", "lora")
            .tensor("blk.0.attn_q.weight.lora_a", "F32", &[32, 4])
            .tensor("blk.0.attn_q.weight.lora_b", "F32", &[4, 32])
            .build();
        let mut file = Cursor::new(adapter.as_slice());
        let name = case.name;
        assert!(!is_foreign(&Metadata::read(&mut file).unwrap()), "{name}");
        check(path, &mut file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            weights(path, &mut file).unwrap().file.form,
            Form::Original,
            "{name}"
        );
    }
}
