//! Items to turns, options, tools, state.

use super::*;
use crate::chat::{Think, ThinkLevel};
use crate::inference::MustCall;
use crate::model::OptionPatch;

/// The messages of an input as `role: text`, with calls and thinking.
fn said(input: Value) -> Vec<String> {
    said_by(input, Known::default(), &Seal::random())
}

fn said_by(input: Value, known: Known, seal: &Seal) -> Vec<String> {
    let asked = asked_with(json!({"model": "m", "input": input}), known, seal).unwrap();
    let line = |message: Message| {
        let mut line = format!("{}: {}", message.role, message.content);
        if !message.thinking.is_empty() {
            line.push_str(&format!(" <{}>", message.thinking));
        }
        for call in &message.tool_calls {
            let function = &call.function;
            let arguments = Value::Object(function.arguments.clone());
            line.push_str(&format!(" {}.{}{arguments}", function.index, function.name));
        }
        if !message.tool_name.is_empty() {
            line.push_str(&format!(" ={}", message.tool_name));
        }
        line.push_str(&"!".repeat(message.images.len()));
        line
    };
    messages(asked.native.messages)
        .into_iter()
        .map(line)
        .collect()
}

#[track_caller]
fn refused(body: Value, message: &str, param: &str) {
    let mut body = body;
    body.as_object_mut()
        .unwrap()
        .entry("model")
        .or_insert(json!("m"));
    let error = asked(body).expect_err("an error");
    assert_eq!(error.message, message);
    assert_eq!(error.param.as_deref(), Some(param));
}

#[test]
fn a_text_is_a_message_of_the_user() {
    assert_eq!(said(json!("hi")), ["user: hi"]);
    for nothing in [json!(""), json!([]), json!(null)] {
        let body = json!({"model": "m", "input": nothing, "instructions": "Be brief."});
        assert_eq!(asked(body).unwrap().native.messages, [], "{nothing}");
    }
    let body = json!({"model": "m", "input": "hi", "instructions": "Be brief."});
    let turns = messages(asked(body).unwrap().native.messages);
    assert_eq!(turns[0], Message::text("system", "Be brief."));
}

#[test]
fn messages_have_texts_or_parts_and_may_lack_a_type() {
    let image = "data:image/png;base64,AAAA";
    let input = json!([
        {"role": "developer", "content": "rules"},
        {"type": "message", "id": "msg_1", "role": "user", "content": [
            {"type": "input_text", "text": "look"},
            {"type": "input_image", "image_url": image, "detail": "low"},
            {"type": "input_image", "file_id": "file-1"},
            {"type": "input_image", "image_url": {"url": image}}]},
        {"type": "message", "role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": "a dog", "annotations": []},
            {"type": "refusal", "refusal": "no"}]},
    ]);
    let expected = [
        "system: rules",
        "user: look\n\n[img]\n\n[img]!!",
        "assistant: a dog\n\nno",
    ];
    assert_eq!(said(input), expected);
}

#[test]
fn instructions_come_first_or_are_marked() {
    let input = json!([
        {"role": "user", "content": "context"},
        {"role": "developer", "content": "one"}, {"role": "system", "content": "two"},
        {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"},
        {"role": "developer", "content": "late"}, {"role": "user", "content": "r"}]);
    let body = json!({"model": "m", "input": input, "instructions": "zero"});
    let messages = messages(asked(body).unwrap().native.messages);
    let lines = messages
        .iter()
        .map(|message| (message.role.as_str(), message.content.as_str()));
    let expected = [
        ("system", "zero\n\none\n\ntwo"),
        ("user", "context"),
        ("user", "q"),
        ("assistant", "a"),
        ("user", "<system-reminder>\n\nlate\n\n</system-reminder>"),
        ("user", "r"),
    ];
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

#[test]
fn what_the_assistant_did_between_two_others_is_one_message() {
    let call = |id: &str, name: &str, arguments: &str| json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments});
    let output = |id: &str, output: Value| json!({"type": "function_call_output", "call_id": id, "output": output});
    let assistant = |text: &str| json!({"role": "assistant", "content": text});
    let thought = |text: &str| {
        json!({"type": "reasoning", "summary": [],
            "content": [{"type": "reasoning_text", "text": text}]})
    };
    let input = json!([
        {"role": "user", "content": "q"},
        thought("hm"), assistant("wait"), call("1", "f", r#"{"a":1}"#), call("2", "g", ""),
        output("2", json!([{"type": "input_text", "text": "two"}])), output("1", json!("one")),
        output("9", json!({"odd": true})),
        call("3", "f", "{}"), assistant("replayed"), output("3", json!("three")),
        thought("so"), assistant("done"), assistant("really"),
        thought("end"),
    ]);
    let expected = [
        "user: q",
        r#"assistant: wait <hm> 0.f{"a":1} 1.g{}"#,
        "tool: two =g",
        "tool: one =f",
        r#"tool: {"odd":true}"#,
        "assistant: replayed 0.f{}",
        "tool: three =f",
        "assistant: done <so>",
        "assistant: really <end>",
    ];
    assert_eq!(said(input), expected);
}

#[test]
fn thinking_comes_back_if_it_is_ours() {
    let seal = Seal::random();
    let reasoning = |sealed: &str| {
        json!([{"role": "user", "content": "q"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}])
    };
    let ours = reasoning(&seal.close(THINKING, "hm"));
    let said = |input| said_by(input, Known::default(), &seal);
    assert_eq!(said(ours), ["user: q", "assistant:  <hm>"]);
    let other_key = Seal::random().close(THINKING, "hm");
    let other_purpose = seal.close(SUMMARY, "hm");
    for foreign in ["gAAAAABo", &other_key, &other_purpose, ""] {
        assert_eq!(said(reasoning(foreign)), ["user: q"], "{foreign}");
    }
    let summary = json!([{"type": "reasoning", "encrypted_content": null,
        "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]}]);
    assert_eq!(said(summary), ["assistant:  <a\n\nb>"]);
    let compaction = json!([{"type": "compaction", "encrypted_content": seal.close(SUMMARY, "s")},
        {"type": "compaction", "encrypted_content": "foreign"}]);
    assert_eq!(said(compaction), [format!("user: {SUMMARIZED}s")]);
}

#[test]
fn what_runs_elsewhere_is_passed_over() {
    let input = json!([
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "mcp_list_tools", "id": "m", "server_label": "l", "tools": []},
        {"type": "local_shell_call_output", "id": "o", "output": "x"},
        {"type": "custom_tool_call", "call_id": "1", "name": "patch", "input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "1", "output": "ok"},
        {"role": "user", "content": "q"},
    ]);
    let expected = [
        r#"assistant:  0.patch{"input":"*** Begin"}"#,
        "tool: ok =patch",
        "user: q",
    ];
    assert_eq!(said(input), expected);
}

#[test]
fn stored_items_come_first_and_references_are_resolved() {
    let stored = |id: &str, text: &str| {
        json!({"type": "message", "id": id, "role": "user", "content": text}).to_string()
    };
    let known = || Known {
        past: vec![stored("a", "before")],
        referenced: vec![("b".to_owned(), stored("b", "that"))],
    };
    for reference in [
        json!({"type": "item_reference", "id": "b"}),
        json!({"id": "b"}),
    ] {
        let input = json!([reference, {"role": "user", "content": "now"}]);
        assert_eq!(referenced(&input), ["b"]);
        let said = said_by(input, known(), &Seal::random());
        assert_eq!(said, ["user: before", "user: that", "user: now"]);
    }
    // With a history, an empty input is a request to go on.
    assert_eq!(
        said_by(json!([]), known(), &Seal::random()),
        ["user: before"]
    );
}

#[test]
fn items_get_what_typed_clients_require() {
    let input = json!([
        {"role": "user", "content": "q"},
        {"role": "assistant", "id": "", "content": [{"type": "text", "text": "a"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "id": null, "call_id": "1", "output": "x"},
        {"type": "reasoning", "summary": null},
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:;base64,AAAA"}]},
    ]);
    let items = asked(json!({"model": "m", "input": input})).unwrap().input;
    let expected = json!([
        {"role": "user", "content": [{"type": "input_text", "text": "q"}], "id": "msg_xi0",
            "status": "completed", "type": "message"},
        {"role": "assistant", "id": "msg_xi1", "status": "completed", "type": "message",
            "content": [{"type": "output_text", "text": "a", "annotations": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "1", "name": "f", "arguments": "{}",
            "status": "completed"},
        {"type": "function_call_output", "id": "fco_xi3", "call_id": "1", "output": "x",
            "status": "completed"},
        {"type": "reasoning", "summary": [], "id": "rs_xi4"},
        {"role": "user", "id": "msg_xi5", "status": "completed", "type": "message",
            "content": [{"type": "input_image", "image_url": "data:;base64,AAAA", "detail": "auto"}]},
    ]);
    assert_eq!(Value::Array(items), expected);
}

#[test]
fn mistakes_name_their_place() {
    for (item, message) in [
        (
            json!({"type": "poem"}),
            r#"unknown input item type: "poem""#,
        ),
        (
            json!({"text": "x"}),
            "input item missing required 'type' field",
        ),
        (json!("x"), "an input item must be an object"),
        (
            json!({"type": "function_call", "name": "f", "arguments": "[1]"}),
            "failed to parse function call arguments: no object",
        ),
        (
            json!({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}),
            "file inputs are not currently supported",
        ),
        (
            json!({"role": "user", "content": [{"type": "hologram"}]}),
            "unknown content type: hologram",
        ),
        (
            json!({"role": "user", "content": [{"type": "input_image", "image_url": "http://x/y.png"}]}),
            "image URLs are not currently supported, please use base64 encoded data instead",
        ),
        (
            json!({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}),
            "invalid image input",
        ),
    ] {
        let input = json!([{"role": "user", "content": "q"}, item]);
        refused(
            json!({"input": input}),
            &format!("input[1]: {message}"),
            "input[1]",
        );
    }
    refused(
        json!({"input": 5}),
        "input must be a string or array: Invalid type for 'input': expected a string or an array, but got a number instead.",
        "input",
    );
}

fn patch(options: Value) -> OptionPatch {
    OptionPatch::parse(options.as_object().unwrap()).unwrap()
}

#[test]
fn options_and_what_is_echoed() {
    let plain = asked(json!({"model": "m", "input": "q"})).unwrap();
    let common = &plain.native.common;
    assert_eq!(common.options, patch(json!({"temperature": 1.0})));
    assert_eq!((common.truncate, common.shift), (Some(false), Some(false)));
    let response = serde_json::to_value(&plain.response).unwrap();
    let defaults = json!({"truncation": "disabled", "tool_choice": "auto", "tools": [],
        "parallel_tool_calls": true, "text": {"format": {"type": "text"}}, "metadata": {},
        "store": true, "background": false, "status": "in_progress", "output": [],
        "error": null, "usage": null, "instructions": null, "temperature": 1.0, "top_p": 1.0});
    for (key, value) in defaults.as_object().unwrap() {
        assert_eq!(&response[key], value, "{key}");
    }
    let body = json!({"model": "m", "input": "q", "temperature": 0, "top_p": 0.5,
        "max_output_tokens": 1, "truncation": "auto", "top_logprobs": 2,
        "include": ["message.output_text.logprobs", "file_search_call.results"],
        "reasoning": {"effort": "high", "summary": "auto"}, "metadata": {"a": "b"},
        "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "n",
            "strict": true, "schema": {"type": "object"}}},
        "store": false, "client_metadata": {"id": "x"}, "prompt_cache_key": "k",
        "safety_identifier": "s", "service_tier": "auto", "stream_options": {}});
    let full = asked(body).unwrap();
    let common = &full.native.common;
    let options = json!({"num_predict": 1, "temperature": 0.0, "top_p": 0.5});
    assert_eq!(common.options, patch(options));
    assert_eq!((common.truncate, common.shift), (Some(true), Some(true)));
    assert_eq!(common.format, json!({"type": "object"}));
    assert_eq!(common.think, Some(Think::Level(ThinkLevel::High)));
    assert_eq!((common.logprobs, common.top_logprobs), (true, 2));
    let response = serde_json::to_value(&full.response).unwrap();
    assert_eq!(
        response["reasoning"],
        json!({"effort": "high", "summary": "auto"})
    );
    assert_eq!(response["text"]["verbosity"], "low");
    assert_eq!(
        (&response["prompt_cache_key"], &response["store"]),
        (&json!("k"), &json!(false))
    );
}

#[test]
fn values_that_openai_does_not_allow_are_refused() {
    for (field, value, param, message) in [
        (
            "temperature",
            json!(3),
            "temperature",
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
        ),
        (
            "max_output_tokens",
            json!(0),
            "max_output_tokens",
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        ),
        (
            "top_logprobs",
            json!(21),
            "top_logprobs",
            "Invalid 'top_logprobs': integer above maximum value. Expected a value <= 20, but got 21 instead.",
        ),
        (
            "truncation",
            json!("some"),
            "truncation",
            "Invalid value: 'some'. Supported values are: 'auto' and 'disabled'.",
        ),
        (
            "text",
            json!({"verbosity": "loud"}),
            "text.verbosity",
            "Invalid value: 'loud'. Supported values are: 'low', 'medium', and 'high'.",
        ),
        (
            "text",
            json!({"format": {"type": "xml"}}),
            "text.format.type",
            "Invalid value: 'xml'. Supported values are: 'text', 'json_object', and 'json_schema'.",
        ),
        (
            "text",
            json!({"format": {"type": "json_schema", "schema": 1}}),
            "text.format.schema",
            "Invalid type for 'text.format.schema': expected an object, but got a number instead.",
        ),
        (
            "prompt",
            json!({"id": "p"}),
            "prompt",
            "this server has no stored prompts",
        ),
        (
            "metadata",
            json!({"a": 1}),
            "metadata",
            "Invalid type for 'metadata': expected texts only, but got a number instead.",
        ),
        (
            "metadata",
            json!({"a": "x".repeat(513)}),
            "metadata",
            "Invalid 'metadata': a value is too long. Expected at most 512.",
        ),
        (
            "reasoning",
            json!({"effort": "wild"}),
            "reasoning.effort",
            "invalid reasoning value: \"wild\" (must be \"minimal\", \"low\", \"medium\", \"high\", \"xhigh\", \"ultra\", \"max\", or \"none\")",
        ),
        (
            "tool_choice",
            json!("required"),
            "tool_choice",
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
        ),
        (
            "conversation",
            json!(1),
            "conversation",
            "Invalid type for 'conversation': expected a string or an object, but got a number instead.",
        ),
        (
            "tools",
            json!([{"type": "function"}]),
            "tools[0].name",
            "Missing required parameter: 'tools[0].name'.",
        ),
    ] {
        refused(json!({"input": "q", field: value}), message, param);
    }
    refused(
        json!({"background": true, "store": false}),
        "Responses in the background must be stored: 'store' must be true.",
        "background",
    );
    refused(
        json!({"previous_response_id": "resp_1", "conversation": {"id": "conv_1"}}),
        "'previous_response_id' and 'conversation' cannot both be given",
        "previous_response_id",
    );
}

#[test]
fn functions_go_to_the_model_and_other_tools_do_not() {
    let tools = json!([
        {"type": "function", "name": "f", "description": "d", "strict": false,
            "parameters": {"type": "object"}},
        {"type": "web_search"}, {"type": "custom", "name": "c"}, {"type": "image_generation"},
        {"type": "tool_search"}, {"type": "mcp", "server_label": "l"}, {"type": "newest"},
        {"type": "namespace", "name": "agents", "tools": [
            {"type": "function", "name": "spawn"}, {"type": "function", "name": "agents.wait"},
            {"type": "custom", "name": "x"}]},
    ]);
    let choices = [
        (json!(null), vec!["f", "agents.spawn", "agents.wait"], None),
        (
            json!("auto"),
            vec!["f", "agents.spawn", "agents.wait"],
            None,
        ),
        (json!("none"), vec![], None),
        (
            json!("required"),
            vec!["f", "agents.spawn", "agents.wait"],
            Some(MustCall::One),
        ),
        (
            json!({"type": "function", "name": "f"}),
            vec!["f"],
            Some(MustCall::One),
        ),
        (
            json!({"type": "web_search"}),
            vec!["f", "agents.spawn", "agents.wait"],
            None,
        ),
        (
            json!({"type": "custom", "name": "c"}),
            vec!["f", "agents.spawn", "agents.wait"],
            None,
        ),
        (
            json!({"type": "allowed_tools", "mode": "required",
                "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]}),
            vec!["f"],
            Some(MustCall::One),
        ),
        (
            json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}),
            vec![],
            None,
        ),
    ];
    for (choice, names, must_call) in choices {
        let body = json!({"model": "m", "input": "q", "tools": tools, "tool_choice": choice});
        let asked = asked(body).unwrap();
        let offered = asked
            .native
            .tools
            .iter()
            .map(|tool| tool.function.name.as_str());
        assert_eq!(offered.collect::<Vec<_>>(), names, "{choice}");
        assert_eq!(asked.native.must_call, must_call, "{choice}");
        assert_eq!(asked.response.tools.len(), 8);
    }
    let only = json!([{"type": "web_search"}]);
    for choice in [
        json!("auto"),
        json!("required"),
        json!({"type": "web_search"}),
    ] {
        let body = json!({"model": "m", "input": "q", "tools": only, "tool_choice": choice});
        assert_eq!(asked(body).unwrap().native.tools, [], "{choice}");
    }
    refused(
        json!({"input": "q", "tools": tools, "tool_choice": {"type": "function", "name": "g"}}),
        "tool_choice: function \"g\" is not in 'tools'",
        "tool_choice",
    );
}

#[test]
fn an_input_has_a_limited_number_of_items() {
    let item = json!({"role": "user", "content": "a"});
    let many = |n: usize| json!({"model": "m", "input": vec![item.clone(); n]});
    assert!(asked(many(10_000)).is_ok());
    let error = asked(many(10_001)).unwrap_err();
    assert!(error.message.contains("10000"), "{error}");
}
