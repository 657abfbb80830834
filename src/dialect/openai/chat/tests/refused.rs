//! Requests that OpenAI refuses, and fields that Ollama ignores.

use super::*;

/// The field and the code of a refused request's error.
#[track_caller]
fn check_refused(body: Value, param: &str, code: &str) {
    let error = read(body.clone()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{body}");
    let told = (error.param.as_deref(), error.code);
    assert_eq!(told, (Some(param), Some(code)), "{body}");
}

#[test]
fn tools_and_choices_that_make_no_sense_are_refused() {
    let tool = json!({"type": "function", "function": {"name": "a"}});
    let with = |choice: Value| json!({"tools": [tool], "tool_choice": choice});
    for (body, param, code) in [
        (
            json!({"tool_choice": "auto"}),
            "tool_choice",
            "invalid_value",
        ),
        (
            json!({"tool_choice": "required", "tools": []}),
            "tool_choice",
            "invalid_value",
        ),
        (json!({"tool_choice": tool}), "tool_choice", "invalid_value"),
        (with(json!("any")), "tool_choice", "invalid_value"),
        (with(json!(1)), "tool_choice", "invalid_type"),
        (with(json!([tool])), "tool_choice", "invalid_type"),
        (
            with(json!({})),
            "tool_choice.type",
            "missing_required_parameter",
        ),
        (
            with(json!({"type": "function", "name": "a"})),
            "tool_choice.function.name",
            "missing_required_parameter",
        ),
        (
            with(json!({"type": "custom", "custom": {"name": "a"}})),
            "tool_choice.type",
            "invalid_value",
        ),
        (
            with(
                json!({"type": "allowed_tools", "allowed_tools": {"mode": "all", "tools": [tool]}}),
            ),
            "tool_choice.allowed_tools.mode",
            "invalid_value",
        ),
        (
            with(json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto"}})),
            "tool_choice.allowed_tools.tools",
            "missing_required_parameter",
        ),
        (
            json!({"tools": [tool, {"type": "custom", "custom": {"name": "c"}}]}),
            "tools[1].type",
            "invalid_value",
        ),
        (
            json!({"tools": [{"type": "function", "function": {}}]}),
            "tools[0].function.name",
            "missing_required_parameter",
        ),
        (
            json!({"functions": [{"name": "a"}], "tools": [tool]}),
            "functions",
            "invalid_value",
        ),
        (
            json!({"functions": [{"name": "a"}], "function_call": {"name": "b"}}),
            "function_call",
            "invalid_value",
        ),
        (
            json!({"functions": [{"name": "a"}], "function_call": "required"}),
            "function_call",
            "invalid_value",
        ),
        (
            json!({"functions": [{}]}),
            "functions[0].name",
            "missing_required_parameter",
        ),
    ] {
        check_refused(body, param, code);
    }
    // Values without effect.
    assert!(one(json!({"tool_choice": "none"})).tools.is_empty());
}

#[test]
fn numbers_out_of_range_and_sound_are_refused() {
    for (body, param, code) in [
        (
            json!({"temperature": 2.1}),
            "temperature",
            "decimal_above_max_value",
        ),
        (
            json!({"temperature": -0.1}),
            "temperature",
            "decimal_below_min_value",
        ),
        (json!({"top_p": 1.5}), "top_p", "decimal_above_max_value"),
        (
            json!({"presence_penalty": -2.5}),
            "presence_penalty",
            "decimal_below_min_value",
        ),
        (
            json!({"frequency_penalty": 3}),
            "frequency_penalty",
            "decimal_above_max_value",
        ),
        (
            json!({"max_tokens": -3}),
            "max_tokens",
            "integer_below_min_value",
        ),
        (
            json!({"min_tokens": -1}),
            "min_tokens",
            "integer_below_min_value",
        ),
        (
            json!({"logit_bias": {"5": 101}}),
            "logit_bias",
            "decimal_above_max_value",
        ),
        (
            json!({"logit_bias": {"5": "1"}}),
            "logit_bias",
            "invalid_type",
        ),
        (
            json!({"logit_bias": {"a": 1}}),
            "logit_bias",
            "invalid_type",
        ),
        (
            json!({"logit_bias": [["a", 1]]}),
            "logit_bias",
            "invalid_type",
        ),
        (json!({"logit_bias": 5}), "logit_bias", "invalid_type"),
        (json!({"top_logprobs": 3}), "top_logprobs", "invalid_value"),
        (
            json!({"modalities": ["text", "audio"]}),
            "modalities",
            "invalid_value",
        ),
        (
            json!({"audio": {"voice": "x"}}),
            "audio",
            "unsupported_value",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}}),
            "response_format.json_schema.schema",
            "invalid_type",
        ),
    ] {
        check_refused(body, param, code);
    }
    let error = read(json!({"temperature": 3})).unwrap_err();
    assert_eq!(
        error.message,
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead."
    );
    for fine in [
        json!({"temperature": 2, "top_p": 1, "presence_penalty": -2, "frequency_penalty": 2}),
        json!({"logit_bias": {"5": -100, "6": 100, "7": false}, "modalities": ["text"]}),
        json!({"logit_bias": [[5, -100], [6, false]], "modalities": null, "audio": null}),
    ] {
        assert!(read(fine).is_ok());
    }
}

#[test]
fn functions_are_tools_of_which_one_is_called() {
    let functions = json!([{"name": "a", "parameters": {"type": "object"}}, {"name": "b"}]);
    for (choice, shown, must_call) in [
        (json!(null), vec!["a", "b"], None),
        (json!("auto"), vec!["a", "b"], None),
        (json!("none"), vec![], None),
        (json!({"name": "b"}), vec!["b"], Some(MustCall::One)),
    ] {
        let native = one(json!({"functions": functions, "function_call": choice}));
        let names = native.tools.iter().map(|tool| tool.function.name.as_str());
        let told = (names.collect::<Vec<_>>(), native.must_call, native.one_call);
        assert_eq!(told, (shown, must_call, true), "{choice}");
    }
    let history = json!([
        {"role": "assistant", "content": null,
            "function_call": {"name": "a", "arguments": "{\"x\":1}"}},
        {"role": "function", "name": "a", "content": "2"},
    ]);
    let natives = messages(history).unwrap();
    assert_eq!(natives[0].tool_calls[0].function.name, "a");
    assert_eq!(natives[0].tool_calls[0].function.arguments["x"], 1);
    let answer = (natives[1].role.as_str(), natives[1].tool_name.as_str());
    assert_eq!(answer, ("tool", "a"));
}

#[test]
fn at_most_one_call_is_told_to_who_does_not_want_several() {
    let tool = json!({"type": "function", "function": {"name": "a"}});
    for (parallel, one_call) in [
        (json!(false), true),
        (json!(true), false),
        (json!(null), false),
    ] {
        let native = one(json!({"tools": [tool], "parallel_tool_calls": parallel}));
        assert_eq!(native.one_call, one_call);
    }
}

#[test]
fn an_answer_need_not_end_by_itself() {
    let native = one(json!({"ignore_eos": true, "min_tokens": 7}));
    let options = &native.common.options;
    assert_eq!(
        (options.ignore_eos, options.min_tokens),
        (Some(true), Some(7))
    );
    let other = one(json!({"ignore_eos": false}));
    assert_eq!(other.common.options.ignore_eos, None);
}
