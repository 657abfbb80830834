//! One conversation with everything in it, as each renderer writes it (`snapshots/`; accept
//! changes that are meant with `INSTA_UPDATE=always`), and what all of them must do; files in the
//! layouts of Ollama's former engine.

use serde_json::json;

use super::{layout, renderers};
use crate::chat::{Message, Think, ToolDefinition};
use crate::model::gguf::Metadata;
use crate::model::gguf::builder::GgufBuilder;
use crate::renderer::RenderInput;

/// A question about the weather, a call, its result, a second question.
fn conversation() -> (Vec<Message>, Vec<ToolDefinition>) {
    let messages = json!([
        {"role": "system", "content": "You know <the> sky."},
        {"role": "user", "content": "Will it rain in Ulm & \"Köln\"?"},
        {"role": "assistant", "thinking": "I must ask.", "content": "Let me look.", "tool_calls": [
            {"id": "call_1", "function": {"name": "weather",
                "arguments": {"city": "Ulm", "days": 2, "hourly": false, "parts": ["rain", null]}}}
        ]},
        {"role": "tool", "tool_call_id": "call_1", "tool_name": "weather", "content": "{\"rain\": 0.5}"},
        {"role": "assistant", "thinking": "Half.", "content": "Perhaps."},
        {"role": "user", "content": "And tomorrow?"}
    ]);
    let tools = json!([{"type": "function", "function": {
        "name": "weather",
        "description": "What the sky does",
        "parameters": {"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "Where"},
            "days": {"type": ["integer", "null"]},
            "parts": {"type": "array", "items": {"type": "string", "enum": ["rain", "wind"]}}
        }}
    }}]);
    let messages = serde_json::from_value(messages).unwrap();
    (messages, serde_json::from_value(tools).unwrap())
}

#[test]
fn every_renderer_writes_a_conversation_as_before() {
    let (messages, tools) = conversation();
    let now = "2026-01-02T12:00:00+00:00[UTC]".parse().unwrap();
    for entry in renderers() {
        let prompt = (entry.render)(&RenderInput {
            messages: &messages,
            tools: &tools,
            think: Some(Think::On),
            now: Some(&now),
        });
        insta::assert_snapshot!(entry.name, prompt.unwrap());
    }
}

#[test]
fn every_prompt_has_the_question_and_its_bos_at_most_once() {
    let messages = [Message::text("user", "Hello.")];
    for entry in renderers() {
        let input = RenderInput {
            messages: &messages,
            ..RenderInput::default()
        };
        let prompt = (entry.render)(&input).unwrap();
        let n_bos = prompt.matches(entry.bos).count();
        assert!(
            entry.bos.is_empty() || n_bos < 2,
            "{}: {prompt}",
            entry.name
        );
        assert!(prompt.contains("Hello."), "{}: {prompt}", entry.name);
    }
}

#[test]
fn nothing_at_all_and_unknown_roles_make_no_renderer_panic() {
    let odd = [Message::text("narrator", "x"), Message::text("tool", "y")];
    for entry in renderers() {
        for messages in [&[][..], &odd] {
            let input = RenderInput {
                messages,
                ..RenderInput::default()
            };
            let _ = (entry.render)(&input);
        }
    }
}

#[test]
fn deepseek_keeps_text_before_an_end_of_thinking_that_it_has_not_begun() {
    let entry = super::renderer("deepseek3.1").unwrap();
    let rendered = |content: &str| {
        let messages = [
            Message::text("user", "a"),
            Message::text("assistant", content),
            Message::text("user", "b"),
        ];
        let input = RenderInput {
            messages: &messages,
            ..RenderInput::default()
        };
        (entry.render)(&input).unwrap()
    };
    let text = "The tag </think> ends it.";
    assert!(rendered(text).contains(text));
    let raw = rendered("<think>hm</think>Yes.");
    assert!(raw.contains("</think>Yes.") && !raw.contains("hm"), "{raw}");
}

/// Reads the shared pairs of tiny models, where they are.
#[test]
fn the_shared_pairs_are_told_apart() {
    #[expect(clippy::disallowed_methods, reason = "where the test data is")]
    let root = std::env::var("DROVER_TESTDATA").unwrap_or_else(|_| "../shared/testdata".to_owned());
    let folder = std::path::PathBuf::from(root).join("gguf");
    let Ok(entries) = fs_err::read_dir(&folder) else {
        println!("skipped: no {}", folder.display());
        return;
    };
    let mut checked = 0;
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".gguf") {
            continue;
        }
        let mut file = fs_err::File::open(&path).unwrap();
        let metadata = Metadata::read(&mut file).unwrap();
        let is_foreign = layout::is_foreign(&metadata);
        assert_eq!(is_foreign, name.ends_with("-ollama.gguf"), "{name}");
        let whole = Metadata::read_whole(&mut file).unwrap();
        assert_eq!(layout::is_foreign(&whole), is_foreign, "{name}");
        layout::check(&path, &mut file).unwrap_or_else(|error| panic!("{name}: {error}"));
        checked += 1;
    }
    println!("{checked} files");
}

/// A model of that architecture with more keys, and what is wrong with it.
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
fn headers_over_which_llama_cpp_ends_its_process_are_refused() {
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

    let experts = json!({".expert_count": 4, ".expert_used_count": 2});
    let mla = json!({".attention.key_length_mla": 24, ".attention.value_length_mla": 16, ".rope.dimension_count": 8});
    // What is right, and how it goes wrong.
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
            &json!({}),
            json!({".attention.output_group_count": 0}),
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
