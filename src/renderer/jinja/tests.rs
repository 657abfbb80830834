//! Our own cases; the conformance suite adds those of the shared test data.

use super::*;
use crate::chat::{ToolCall, ToolCallFunction, ToolDefinition};

fn render(source: &str, messages: &[Message]) -> Result<String, RenderError> {
    let input = RenderInput {
        messages,
        ..RenderInput::default()
    };
    ChatTemplate::parse(source, "<s>", "</s>")?.render(&input)
}

#[test]
fn trailing_assistant_message_is_continued() {
    let source = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]";
    let messages = [
        Message::text("user", "Count"),
        Message::text("assistant", "one, "),
    ];
    let prompt = render(source, &messages).unwrap();
    assert_eq!(prompt, "[user]Count[assistant]one, ");
}

#[test]
fn system_text_is_folded_where_the_template_refuses_it() {
    let source = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}";
    let messages = [Message::text("system", "S"), Message::text("user", "U")];
    assert_eq!(render(source, &messages).unwrap(), "[user]S\n\nU");
}

#[test]
fn raise_exception_reaches_the_caller() {
    let error = render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err();
    assert_eq!(
        error,
        RenderError("roles must alternate (line 1)".to_owned())
    );
}

#[test]
fn unparsable_template_names_the_line() {
    let error = ChatTemplate::parse("a\n{% for %}", "", "").unwrap_err();
    assert!(error.0.contains("line 2"), "{error}");
}

#[test]
fn lines_and_columns_that_cannot_be_counted_are_refused() {
    for piece in ["x", "{# #}", "\n", "é"] {
        let error = ChatTemplate::parse(&piece.repeat(70_000), "", "").unwrap_err();
        assert!(error.0.contains("lines or bytes of a line"), "{error}");
    }
    ChatTemplate::parse(&"x".repeat(60_000), "", "").unwrap();
}

#[test]
fn python_methods_and_python_json_work() {
    let source =
        "{{ messages[0].content.strip().split(',')[1] }} {{ {'a': [1, 2], 'b': '<é>'} | tojson }}";
    let messages = [Message::text("user", " x,y ")];
    assert_eq!(
        render(source, &messages).unwrap(),
        "y {\"a\": [1, 2], \"b\": \"<é>\"}"
    );
}

#[test]
fn generation_tags_vanish() {
    let source = "a{% generation %}b{%- endgeneration -%} c";
    assert_eq!(render(source, &[]).unwrap(), "abc");
}

/// Comments in TRL's templates mention the tag.
#[test]
fn generation_in_a_comment_a_string_or_raw_is_no_tag() {
    for (source, expected) in [
        ("a{# needs {% generation %} here #}b", "ab"),
        ("{{ '{% generation %}' }}", "{% generation %}"),
        (r#"{{ "\"{% generation %}" }}"#, "\"{% generation %}"),
        (
            "{% set a = '%}{% generation %}' %}{{ a }}",
            "%}{% generation %}",
        ),
        ("{% raw %}{% generation %}{%- endraw %}", "{% generation %}"),
        (
            "{%- raw -%} {% x %}{{ {% generation %} {% endraw %}a{% generation %}b",
            "{% x %}{{ {% generation %} ab",
        ),
        (
            "{{ {'a': {'b': 1}}['a']['b'] }}{% generation %}x{% endgeneration %}",
            "1x",
        ),
        ("{ {% generation %}x{%endgeneration%}", "{ x"),
        ("{% generation %}\n  x\n{% endgeneration %}\ny", "  x\ny"),
    ] {
        assert_eq!(render(source, &[]).unwrap(), expected, "{source}");
    }
    for broken in [
        "{% generation",
        "{{ '",
        "{{ '\\",
        "{# ",
        "{% raw %}{% endraw",
        "{%}",
        "{%-%}",
        "{",
        "{{ )) }} {% generation %}",
    ] {
        let _ = render(broken, &[]);
    }
}

#[test]
fn every_line_end_is_a_newline() {
    let source = "a\r\n{% if true %}\r\nb\rc{% endif %}\r\n";
    assert_eq!(render(source, &[]).unwrap(), "a\nb\nc");
}

#[test]
fn dates_and_thinking_are_there_without_being_asked_for() {
    let source = "{{ date_string }}|{{ datetime }}|{{ strftime_now('%Y') }}|{{ enable_thinking }}";
    let now = "2026-03-04T15:09:26+00:00[UTC]".parse().unwrap();
    let input = RenderInput {
        now: Some(&now),
        ..RenderInput::default()
    };
    let template = ChatTemplate::parse(source, "", "").unwrap();
    let prompt = template.render(&input).unwrap();
    assert_eq!(prompt, "04 Mar 2026|Mar 04 2026|2026|True");
}

#[test]
fn a_call_without_an_id_has_an_empty_one() {
    let source = "{{ 'id:' + messages[0].tool_calls[0].id }}";
    let messages = [Message {
        tool_calls: vec![ToolCall::default()],
        ..Message::text("assistant", "")
    }];
    assert_eq!(render(source, &messages).unwrap(), "id:");
}

#[test]
fn endless_template_runs_out_of_fuel() {
    let source = "{% for a in range(100000) %}{% for b in range(100000) %}{{ b * a }}{% endfor %}{% endfor %}";
    assert!(render(source, &[]).is_err());
}

#[test]
fn thinking_and_tools_are_variables() {
    let source = "{{ enable_thinking }} {{ tools[0].function.name }} {{ messages[0].tool_calls[0].function.arguments | tojson }}";
    let call = ToolCall {
        function: ToolCallFunction {
            name: "f".to_owned(),
            arguments: serde_json::from_str(r#"{"x":1}"#).unwrap(),
            ..ToolCallFunction::default()
        },
        ..ToolCall::default()
    };
    let messages = [Message {
        tool_calls: vec![call],
        ..Message::text("assistant", "")
    }];
    let mut tool = ToolDefinition::default();
    tool.function.name = "g".to_owned();
    let input = RenderInput {
        messages: &messages,
        tools: &[tool],
        think: Some(Think::Off),
        now: None,
    };
    let template = ChatTemplate::parse(source, "", "").unwrap();
    assert_eq!(template.render(&input).unwrap(), "False g {\"x\": 1}");
}

/// The fuzz target's corpus, on a stack as small as a worker's.
#[test]
fn kept_inputs_of_the_fuzz_target_are_rendered_or_refused() {
    const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/jinja");
    let work = || {
        let mut n_rendered = 0;
        for entry in fs_err::read_dir(KEPT).unwrap() {
            let source = fs_err::read_to_string(entry.unwrap().path()).unwrap();
            n_rendered += usize::from(render(&source, &[Message::text("user", "a")]).is_ok());
        }
        assert!(n_rendered > 10, "{n_rendered}");
    };
    let worker = std::thread::Builder::new().stack_size(64 << 20);
    worker.spawn(work).unwrap().join().unwrap();
}

#[test]
fn templates_see_earlier_thinking_under_both_names() {
    let source = "{% for m in messages %}{{ m.reasoning_content }}|{{ m.thinking }};{% endfor %}";
    let thought = Message {
        thinking: "hm".to_owned(),
        ..Message::text("assistant", "a")
    };
    let messages = [thought, Message::text("user", "b")];
    assert_eq!(render(source, &messages).unwrap(), "hm|hm;|;");
}
