//! Small templates of each kind.

use serde_json::json;

use super::*;
use crate::chat::ToolDefinition;

fn render(template: &str, messages: &[Message]) -> String {
    let input = RenderInput {
        messages,
        ..RenderInput::default()
    };
    GoTemplate::parse(template).unwrap().render(&input).unwrap()
}

fn talk() -> Vec<Message> {
    [
        ("system", "S"),
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
    ]
    .map(|(role, text)| Message::text(role, text))
    .to_vec()
}

#[test]
fn messages_are_rendered_at_once() {
    let template = "{{ .System }}|{{ range .Messages }}{{ .Role }}={{ .Content }};{{ end }}";
    assert_eq!(
        render(template, &talk()),
        "S|system=S;user=one;assistant=two;user=three;"
    );
}

#[test]
fn older_templates_are_rendered_for_each_exchange_and_cut_at_the_answer() {
    let template = "{{ with .System }}<{{ . }}>{{ end }}[{{ .Prompt }}]{{ .Response }}.";
    assert_eq!(render(template, &talk()), "<S>[one]two.[three]");
    let mut prefilled = talk();
    prefilled.push(Message::text("assistant", "fo"));
    assert_eq!(render(template, &prefilled), "<S>[one]two.[three]fo");
}

#[test]
fn a_branch_with_the_answer_is_cut_inside() {
    let template = "[{{ .Prompt }}]{{ if .Response }}{{ .Response }}!{{ else }}?{{ end }}.";
    assert_eq!(render(template, &[Message::text("user", "one")]), "[one]");
    let json = "{{ json .Prompt }}{{ .Response }}";
    assert_eq!(render(json, &[Message::text("user", "<")]), "\"\\u003c\"");
}

#[test]
fn a_template_without_an_answer_gets_one() {
    assert_eq!(render("<{{ .Prompt }}>", &talk()), "<one>two<three>");
}

#[test]
fn a_suffix_has_its_own_way() {
    let template =
        "{{ if .Suffix }}<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>{{ else }}{{ .Prompt }}{{ end }}";
    let template = GoTemplate::parse(template).unwrap();
    let parts = PromptParts {
        prompt: "a",
        suffix: "b",
        ..PromptParts::default()
    };
    assert_eq!(template.render_parts(&parts).unwrap(), "<PRE>a<SUF>b<MID>");
}

#[test]
fn tags_and_tools_are_found() {
    let template = "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}\
        {{ if .ToolCalls }}<tool_call>{{ range .ToolCalls }}{\"name\": \"{{ .Function.Name }}\"}{{ end }}\
        {{ end }}{{ end }}{{ .Tools }}";
    let template = GoTemplate::parse(template).unwrap();
    assert_eq!(template.thinking_tags(), Some(("<think>", "</think>")));
    assert_eq!(template.tool_tag(), "<tool_call>");
    assert!(template.uses("tools") && !template.uses("suffix"));
    let tool: ToolDefinition = serde_json::from_value(json!({"type": "function", "function":
        {"name": "f", "parameters": {"type": "object", "extra": 1, "properties": {"b": {"type": "string"}, "a": {}}}}}))
    .unwrap();
    let input = RenderInput {
        tools: &[tool],
        ..RenderInput::default()
    };
    assert_eq!(
        template.render(&input).unwrap(),
        r#"[{"type":"function","function":{"name":"f","description":"","parameters":{"type":"object","properties":{"a":{},"b":{"type":"string"}}}}}]"#
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let error = GoTemplate::parse("a\n{{ .B").unwrap_err().to_string();
    assert!(error.contains(":2:"), "{error}");
    let error = GoTemplate::parse("{{ template \"x\" }}")
        .unwrap_err()
        .to_string();
    assert!(error.contains("undefined template specified"), "{error}");
    let input = RenderInput {
        messages: &talk(),
        ..RenderInput::default()
    };
    let template = GoTemplate::parse("{{ range .Messages }}{{ .Nope }}{{ end }}").unwrap();
    let error = template.render(&input).unwrap_err().to_string();
    assert!(error.contains("can't evaluate field Nope"), "{error}");
}
