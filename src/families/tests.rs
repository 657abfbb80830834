//! Every renderer's output for one conversation that has everything (`snapshots/`; accept intended changes with
//! `INSTA_UPDATE=always`), what all renderers must do, and files in the layouts of Ollama's former engine.

mod needs;

use serde_json::json;

use super::{layout, renderers};
use crate::chat::{Message, Think, ToolDefinition};
use crate::model::gguf::Metadata;
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

/// Reads the shared pairs of tiny models, if they are present.
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
