//! A family's parser reads a call back as the family's renderer wrote it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside test functions"
)]

use drover::chat::{Message, Think, ToolCall, ToolDefinition};
use drover::families;
use drover::parser::Start;
use drover::renderer::RenderInput;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Renderer, parser, and the texts that a call begins and ends with.
const FAMILIES: [(&str, &str, &str, &str); 14] = [
    ("qwen3-coder", "qwen3-coder", "<tool_call>", "</tool_call>"),
    ("qwen3.5", "qwen3.5", "<tool_call>", "</tool_call>"),
    (
        "qwen3-vl-instruct",
        "qwen3-vl-instruct",
        "<tool_call>",
        "</tool_call>",
    ),
    (
        "nemotron-3-nano",
        "nemotron-3-nano",
        "<tool_call>",
        "</tool_call>",
    ),
    ("glm-4.7", "glm-4.7", "<tool_call>", "</tool_call>"),
    ("laguna", "laguna", "<tool_call>", "</tool_call>"),
    ("poolside-v1", "poolside-v1", "<tool_call>", "</tool_call>"),
    ("lfm2", "lfm2", "<|tool_call_start|>", "<|tool_call_end|>"),
    ("olmo3", "olmo3", "<function_calls>", "</function_calls>"),
    (
        "functiongemma",
        "functiongemma",
        "<start_function_call>",
        "<end_function_call>",
    ),
    ("gemma4-small", "gemma4", "<|tool_call>", "<tool_call|>"),
    (
        "deepseek3.1",
        "deepseek3",
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>",
    ),
    (
        "cogito",
        "cogito",
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>",
    ),
    ("cohere", "cohere", "<|START_ACTION|>", "<|END_ACTION|>"),
];

fn tools() -> Vec<ToolDefinition> {
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "hourly": {"type": "boolean"}
    }}}}]);
    serde_json::from_value(tools).unwrap()
}

/// A prompt with a call in it, as the renderer writes it.
fn rendered(renderer: &str, arguments: &Value) -> String {
    let messages = json!([
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": arguments}}]},
        {"role": "tool", "tool_name": "weather", "content": "dry"}
    ]);
    let messages: Vec<Message> = serde_json::from_value(messages).unwrap();
    let input = RenderInput {
        messages: &messages,
        tools: &tools(),
        think: Some(Think::Off),
        now: None,
    };
    (families::renderer(renderer).unwrap().render)(&input).unwrap()
}

fn parsed(parser: &str, text: &str) -> Vec<ToolCall> {
    let tools = tools();
    let mut parser = (families::parser(parser).unwrap().new)(&Start {
        tools: &tools,
        last: None,
        think: Some(Think::Off),
        in_thinking: Some(false),
    });
    let mut calls = parser.push(text).unwrap().tool_calls;
    calls.extend(parser.finish().unwrap().tool_calls);
    calls
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_call_survives_prompt_and_parser(
        city in "[A-Za-zé][A-Za-z0-9é .,]{0,12}[a-z]",
        days in -1000..1000_i64,
        hourly in any::<bool>(),
    ) {
        let arguments = json!({"city": city, "days": days, "hourly": hourly});
        for (renderer, parser, start, end) in FAMILIES {
            let prompt = rendered(renderer, &arguments);
            let from = prompt.rfind(start).unwrap();
            let to = from + prompt[from..].find(end).unwrap() + end.len();
            let calls = parsed(parser, &prompt[from..to]);
            prop_assert_eq!(calls.len(), 1, "{}: {}", renderer, &prompt[from..to]);
            let function = &calls[0].function;
            prop_assert_eq!(&function.name, "weather");
            let got = Value::Object(function.arguments.clone());
            prop_assert_eq!(&got, &arguments, "{}: {}", renderer, &prompt[from..to]);
        }
    }
}
