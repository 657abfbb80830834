//! Recorded prompts of Ollama's renderers.
//!
//! The data is next to the checkout (`../shared/testdata`, or `DROVER_TESTDATA`); without it the tests say so and pass.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside test functions"
)]

mod recorded;

use drover::chat::{Message, Think, ToolDefinition};
use drover::families;
use drover::inference::history::forget_reasoning;
use drover::renderer::RenderInput;
use jiff::ZonedDateTime;
use recorded::{Verdict, run, run_folder, same, same_text};
use serde_json::Value;

fn decoded<T: serde::de::DeserializeOwned + Default>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Renders a conversation and compares; keys that the original writes in random order are skipped.
fn check(renderer: &str, case: &Value, messages: &Value, tools: &Value) -> Verdict {
    let Some(entry) = families::renderer(renderer) else {
        return Verdict::Differs(format!("no renderer {renderer}"));
    };
    let messages: Vec<Message> = decoded(messages);
    let tools: Vec<ToolDefinition> = decoded(tools);
    let now: Option<ZonedDateTime> = case["current_date"]
        .as_str()
        .map(|date| format!("{date}T12:00:00+00:00[UTC]").parse().unwrap());
    let think = match Think::from_json(&case["think"]) {
        Ok(think) => think,
        Err(error) => return Verdict::Differs(error),
    };
    let got = (entry.render)(&RenderInput {
        messages: &messages,
        tools: &tools,
        think,
        now: now.as_ref(),
    });
    match (got, case["expected"].as_str()) {
        (Ok(got), Some(want))
            if renderer == "deepseek3.1" && got != want && loses_text(&messages) =>
        {
            Verdict::Skipped(
                "the original loses what stands before a `</think>` that closes nothing",
            )
        }
        (Ok(got), Some(want))
            if renderer == "qwen3-coder" && got != want && reordered(&got, want) =>
        {
            Verdict::Skipped("the original writes other keys of tools in random order")
        }
        (Ok(got), Some(want)) => same_text(&got, want).into(),
        (Ok(_), None) if case["error"].is_string() => Verdict::Differs("no error".to_owned()),
        (Ok(got), None) => same_text(&got, "").into(),
        (Err(_), None) => Verdict::Same,
        (Err(error), Some(_)) => Verdict::Differs(error.to_string()),
    }
}

/// Whether an answer in the history mentions the end of thinking without its beginning.
fn loses_text(messages: &[Message]) -> bool {
    messages.iter().any(|message| {
        let content = &message.content;
        message.role == "assistant"
            && content.contains("</think>")
            && !content.starts_with("<think>")
    })
}

/// Whether the texts have the same lines in another order.
fn reordered(a: &str, b: &str) -> bool {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    sorted(a) == sorted(b)
}

#[test]
fn families() {
    run_folder("renderers", |fixture, case| {
        check(
            text(fixture, "renderer"),
            case,
            &case["messages"],
            &case["tools"],
        )
    });
}

#[test]
fn matrix() {
    let Some(inputs) = recorded::fixture("renderers_matrix/_inputs.json") else {
        return;
    };
    run_folder("renderers_matrix", |fixture, case| {
        let conversation = &inputs["conversations"][text(case, "conversation")];
        let tools = &inputs["toolsets"][text(case, "toolset")];
        check(text(fixture, "renderer"), case, conversation, tools)
    });
}

#[test]
fn table() {
    let Some(fixture) = recorded::fixture("registry.json") else {
        return;
    };
    for row in fixture["renderers"].as_array().unwrap() {
        let entry = families::renderer(text(row, "renderer")).unwrap_or_else(|| panic!("{row}"));
        assert_eq!(entry.bos, text(row, "leading_bos"), "{}", entry.name);
    }
}

#[test]
fn old_reasoning() {
    run("filter_think_tags.json", |case| {
        let mut messages: Vec<Message> = decoded(&case["messages"]);
        let name = drover::model::ModelName::parse(text(case, "model")).unwrap();
        forget_reasoning(&mut messages, text(case, "model_family"), &name.model);
        same(&messages, &decoded(&case["expected"]))
    });
}

#[test]
fn sizes_of_gemma4() {
    run("gemma4_renderer.json", |case| {
        let name = format!("{} {}", text(case, "name"), text(case, "short_name"));
        let got =
            families::resolve_renderer(text(case, "renderer"), &name, text(case, "model_type"));
        same(&got, &text(case, "expected"))
    });
}
