//! Headers that make llama.cpp abort its process.

use serde_json::json;

use super::super::layout;
use crate::model::gguf::builder::GgufBuilder;

/// What is wrong with a model of that architecture and these additional keys.
fn unmet(
    architecture: &str,
    keys: &serde_json::Value,
    tensors: &[(&str, &[u64])],
) -> Option<String> {
    let mut file = GgufBuilder::model(architecture);
    for (key, value) in keys.as_object().unwrap() {
        file = file.value(&format!("{architecture}{key}"), value.clone());
    }
    for (name, shape) in tensors {
        file = file.tensor(name, "F32", shape);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs_err::write(&path, file.build()).unwrap();
    let mut file = fs_err::File::open(&path).unwrap();
    let checked = layout::check(&path, &mut file);
    checked.err().map(|error| error.to_string())
}

#[test]
fn numbers_over_which_llama_cpp_ends_its_process_are_refused() {
    let experts = json!({".expert_count": 4, ".expert_used_count": 2});
    let mla = json!({".attention.key_length_mla": 24, ".attention.value_length_mla": 16, ".rope.dimension_count": 8});
    // Valid keys, and changes that make them invalid.
    for (architecture, right, wrong) in [
        ("bailingmoe2", &experts, json!({})),
        ("glm4moe", &experts, json!({})),
        ("llada-moe", &experts, json!({})),
        ("smallthinker", &experts, json!({})),
        (
            "lfm2moe",
            &experts,
            json!({".leading_dense_block_count": 1}),
        ),
        (
            "lfm2moe",
            &json!({".leading_dense_block_count": 2}),
            json!({}),
        ),
        (
            "lfm2moe",
            &json!({".leading_dense_block_count": 2, ".attention.key_length": 8, ".attention.value_length": 8}),
            json!({".leading_dense_block_count": 2, ".attention.key_length": 8, ".attention.value_length": 4}),
        ),
        (
            "grovemoe",
            &experts,
            json!({".expert_count": 4, ".expert_used_count": 2, ".experts_per_group": 0}),
        ),
        (
            "bailingmoe3",
            &json!({".kda.gate_lower_bound": -5.0}),
            json!({".kda.gate_lower_bound": 0.5}),
        ),
        ("bailingmoe3", &json!({}), json!({".kda.safe_gate": false})),
        ("deepseek2", &mla, json!({".rope.dimension_count": 16})),
        ("deepseek2", &json!({".rope.dimension_count": 8}), json!({})),
        ("hy_v4", &mla, json!({".rope.dimension_count": 8})),
        (
            "dflash",
            &json!({".hyper_connection.count": 4, ".attention.output_group_count": 2, ".attention.sliding_window": 8}),
            json!({".hyper_connection.count": 4, ".attention.output_group_count": 2}),
        ),
        (
            "dflash",
            &json!({".attention.output_group_count": 0}),
            json!({".hyper_connection.count": 4, ".attention.sliding_window": 8}),
        ),
        (
            "gemma4",
            &json!({}),
            json!({".attention.shared_kv_layers": 1}),
        ),
        (
            "glm5-next",
            &json!({".attention.indexer.kpool": 4, ".attention.indexer.top_k": 8}),
            json!({".attention.indexer.kpool": 4, ".attention.indexer.top_k": 6}),
        ),
        (
            "glm5-next",
            &json!({}),
            json!({".hyper_connection.count": 2}),
        ),
        (
            "granitehybrid",
            &json!({".ssm.inner_size": 64}),
            json!({".ssm.inner_size": 32}),
        ),
        ("jamba", &json!({".ssm.inner_size": 64}), json!({})),
        (
            "hrm_text",
            &json!({".hrm.layers_per_stack": 1, ".hrm.h_cycles": 1, ".hrm.l_cycles": 1}),
            json!({".hrm.layers_per_stack": 0, ".hrm.h_cycles": 1, ".hrm.l_cycles": 1}),
        ),
        (
            "minimax-m3",
            &json!({}),
            json!({".attention.indexer.block_size": 0}),
        ),
        (
            "nanbeige",
            &json!({".num_loops": 2}),
            json!({".num_loops": 257}),
        ),
        ("nanbeige", &json!({}), json!({".num_loops": 0})),
        (
            "wavtokenizer-dec",
            &json!({}),
            json!({".posnet.embedding_length": 8}),
        ),
    ] {
        assert_eq!(
            unmet(architecture, right, &[]),
            None,
            "{architecture} {right}"
        );
        let reason = unmet(architecture, &wrong, &[]);
        assert!(reason.is_some(), "{architecture} {wrong}");
    }
}

#[test]
fn so_are_tensors_of_other_widths_than_the_header_says() {
    let laguna = |rows: u64| {
        unmet(
            "laguna",
            &json!({}),
            &[("blk.0.attn_gate.weight", &[32, rows])],
        )
    };
    assert_eq!(laguna(2), None);
    assert_eq!(laguna(32), None);
    assert!(laguna(16).unwrap().contains("attn_gate"));
    let up = |rows: u64| {
        unmet(
            "jina-bert-v2",
            &json!({".feed_forward_length": 48}),
            &[("blk.0.ffn_up.weight", &[32, rows])],
        )
    };
    assert_eq!((up(48), up(96)), (None, None));
    assert!(up(47).unwrap().contains("ffn_up"));
    let fused: &[u64] = &[32, 1, 1, 5];
    let both = [
        ("blk.0.time_mix_lerp_fused.weight", fused),
        ("blk.1.time_mix_lerp_w.weight", &[32, 1, 1]),
    ];
    assert_eq!(unmet("rwkv6", &json!({}), &both), None);
    assert!(unmet("rwkv6", &json!({}), &both[..1]).is_some());
}
