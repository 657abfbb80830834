//! Chat requests and responses as JSON.

use serde_json::json;

use super::*;
use crate::chat::{Image, Message, Turn};
use crate::error::ErrorKind;
use crate::inference::MustCall;

mod answers;
mod refused;

fn read(mut body: Value) -> Result<Vec<ChatRequest>, RequestError> {
    let object = body.as_object_mut().unwrap();
    object.entry("model").or_insert(json!("m"));
    object
        .entry("messages")
        .or_insert(json!([{"role": "user", "content": "hi"}]));
    requests(serde_json::from_value(body).unwrap())
}

fn one(body: Value) -> ChatRequest {
    read(body).unwrap().remove(0)
}

fn messages(messages: Value) -> Result<Vec<Message>, String> {
    read(json!({"messages": messages}))
        .map(|mut natives| natives.remove(0).messages)
        .map(|turns| turns.into_iter().flat_map(Turn::into_messages).collect())
        .map_err(|error| error.message)
}

#[track_caller]
fn check_options(body: Value, options: Value) {
    let expected = OptionPatch::parse(options.as_object().unwrap()).unwrap();
    assert_eq!(one(body).common.options, expected);
}

#[test]
fn only_the_tier_flex_waits_for_others() {
    for (tier, expected) in [
        (json!("flex"), Priority::Batch),
        (json!("default"), Priority::Interactive),
        (Value::Null, Priority::Interactive),
    ] {
        let request = one(json!({"service_tier": tier}));
        assert_eq!(request.common.priority, expected, "{tier}");
    }
}

#[test]
fn options() {
    check_options(json!({}), json!({"temperature": 1.0, "top_p": 1.0}));
    check_options(
        json!({"temperature": 0, "top_p": 0, "seed": 7, "max_tokens": 5,
            "frequency_penalty": 0.5, "presence_penalty": -1}),
        json!({"num_predict": 5, "temperature": 0.0, "top_p": 0.0,
            "frequency_penalty": 0.5, "presence_penalty": -1.0, "seed": 7}),
    );
    check_options(
        json!({"max_tokens": 5, "max_completion_tokens": 9, "stop": "x"}),
        json!({"stop": ["x"], "num_predict": 9, "temperature": 1.0, "top_p": 1.0}),
    );
    check_options(
        json!({"stop": ["x", 1, "y"], "temperature": null, "tools": null, "n": null,
            "stream": null, "response_format": null, "user": "u", "logit_bias": {"1": 2}}),
        json!({"stop": ["x", "y"], "temperature": 1.0, "top_p": 1.0, "logit_bias": {"1": 2}}),
    );
    for skipped in [json!(1), json!([]), json!([1]), json!(null)] {
        check_options(
            json!({"stop": skipped}),
            json!({"temperature": 1.0, "top_p": 1.0}),
        );
    }
}

#[test]
fn response_format_becomes_a_format() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    for (given, format) in [
        (json!({"type": "json_object"}), json!("json")),
        (json!({"type": "JSON_OBJECT"}), json!("json")),
        (
            json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}}),
            schema.clone(),
        ),
        (json!({"type": "text"}), Value::Null),
        (json!({"type": "grammar"}), Value::Null),
        (json!({"type": "json_schema"}), Value::Null),
    ] {
        let native = one(json!({"response_format": given}));
        assert_eq!(native.common.format, format, "{given}");
    }
}

#[test]
fn effort_becomes_think() {
    for (body, think) in [
        (json!({}), None),
        (json!({"reasoning_effort": ""}), None),
        (json!({"reasoning_effort": "none"}), Some(Think::Off)),
        (
            json!({"reasoning_effort": "minimal"}),
            Some(Think::Level(ThinkLevel::Low)),
        ),
        (
            json!({"reasoning": {"effort": "xhigh"}, "reasoning_effort": "low"}),
            Some(Think::Level(ThinkLevel::Max)),
        ),
        (
            json!({"reasoning": {"effort": ""}, "reasoning_effort": "low"}),
            None,
        ),
    ] {
        assert_eq!(one(body.clone()).common.think, think, "{body}");
    }
}

#[test]
fn mistakes_are_told_in_ollamas_words() {
    for (body, message) in [
        (json!({"messages": []}), "[] is too short - 'messages'"),
        (json!({"messages": null}), "[] is too short - 'messages'"),
        (
            json!({"reasoning_effort": "much"}),
            r#"invalid reasoning value: "much" (must be "minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none")"#,
        ),
        (
            json!({"top_logprobs": 21}),
            "top_logprobs must be between 0 and 20",
        ),
        (
            json!({"top_logprobs": -1}),
            "top_logprobs must be between 0 and 20",
        ),
        (json!({"n": 0}), "n must be between 1 and 128"),
        (json!({"n": 129}), "n must be between 1 and 128"),
        (
            json!({"tools": [{"function": {"name": "g"}}],
                "tool_choice": {"type": "function", "function": {"name": "f"}}}),
            r#"tool_choice: function "f" is not in 'tools'"#,
        ),
    ] {
        assert_eq!(read(body).unwrap_err().message, message);
    }
}

#[test]
fn parts_of_a_message_stay_together() {
    let parts = json!([{"role": "user", "content": [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
        {"type": "image_url", "image_url": "data:;base64,AAAA"},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
        {"type": "text", "text": "what is it?"},
    ]}]);
    assert_eq!(
        messages(parts).unwrap(),
        [Message {
            images: ["iVBO", "AAAA", "UklG"]
                .map(|data| Image::from_base64(data).unwrap())
                .to_vec(),
            ..Message::text("user", "look\n\n[img]\n\n[img]\n\n[img]\n\nwhat is it?")
        }]
    );
}

#[test]
fn files_are_read_as_go_reads_base64() {
    // Base64 with line breaks as in MIME, and with superfluous last bits.
    let parts = json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVs\nbG8=\n"}},
        {"type": "image_url", "image_url": "data:;base64,aGVs\r\nbG9="},
        {"type": "input_audio", "input_audio": {"data": "aGVs\r\nbG9=", "format": "mp3"}},
    ]}]);
    let images = messages(parts).unwrap().remove(0).images;
    assert_eq!(images, vec![Image("hello".into()); 3]);
}

#[test]
fn bad_content_is_refused_in_ollamas_words() {
    for (content, message) in [
        (json!(null), "invalid message content type: <nil>"),
        (json!(1.5), "invalid message content type: float64"),
        (
            json!({"type": "text"}),
            "invalid message content type: map[string]interface {}",
        ),
        (json!(["text"]), "invalid message format"),
        (json!([{"type": "text"}]), "invalid message format"),
        (json!([{"type": "file"}]), "invalid message format"),
        (json!([{"type": "image_url"}]), "invalid message format"),
        (
            json!([{"type": "image_url", "image_url": "https://example.org/a.png"}]),
            "image URLs are not currently supported, please use base64 encoded data instead",
        ),
        (
            json!([{"type": "image_url", "image_url": "data:image/tiff;base64,AAAA"}]),
            "invalid image input",
        ),
        (
            json!([{"type": "image_url", "image_url": "data:image/png;base64,*"}]),
            "invalid image input",
        ),
        (
            json!([{"type": "input_audio", "input_audio": 1}]),
            "invalid input_audio format",
        ),
        (
            json!([{"type": "input_audio", "input_audio": {}}]),
            "invalid input_audio format: missing data",
        ),
        (
            json!([{"type": "input_audio", "input_audio": {"data": "*AAA"}}]),
            "invalid input_audio base64 data: illegal base64 data at input byte 0",
        ),
    ] {
        let given = json!([{"role": "user", "content": content}]);
        assert_eq!(messages(given).unwrap_err(), message);
    }
}

#[test]
fn tool_results_find_the_name_of_their_call() {
    let history = json!([
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": null, "reasoning_content": "call it", "tool_calls": [
            {"id": "call_1", "type": "function", "index": 0,
             "function": {"name": "weather", "arguments": "{\"z\":1,\"a\":\"b\"}"}},
            {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": ""}},
        ]},
        {"role": "tool", "tool_call_id": "call_2", "content": "noon"},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "sun"}]},
        {"role": "tool", "tool_call_id": "call_9", "name": "own", "content": "x"},
    ]);
    let natives = messages(history).unwrap();
    assert_eq!(natives[0], Message::text("system", "be brief"));
    assert_eq!(natives[2].thinking, "call it");
    assert_eq!(
        serde_json::to_value(&natives[2].tool_calls).unwrap(),
        json!([
            {"id": "call_1", "function":
                {"index": 0, "name": "weather", "arguments": {"z": 1, "a": "b"}}},
            {"id": "call_2", "function": {"index": 1, "name": "time", "arguments": {}}},
        ])
    );
    let results: Vec<_> = natives[3..]
        .iter()
        .map(|message| {
            (
                message.tool_call_id.as_str(),
                message.tool_name.as_str(),
                message.content.as_str(),
            )
        })
        .collect();
    assert_eq!(
        results,
        [
            ("call_2", "time", "noon"),
            ("call_1", "weather", "sun"),
            ("call_9", "own", "x")
        ]
    );
}

#[test]
fn unparsable_arguments_are_refused() {
    for arguments in ["{", "[]", "1"] {
        let history = json!([{"role": "assistant", "tool_calls":
            [{"function": {"name": "f", "arguments": arguments}}]}]);
        assert_eq!(
            messages(history).unwrap_err(),
            "invalid tool call arguments"
        );
    }
}

#[test]
fn tool_choice_says_which_tools_are_shown_and_whether_one_must_be_called() {
    let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
    for (choice, shown, must_call) in [
        (json!(null), vec!["a", "b"], false),
        (json!("auto"), vec!["a", "b"], false),
        (json!("required"), vec!["a", "b"], true),
        (json!("none"), vec![], false),
        (tool("b"), vec!["b"], true),
        (
            json!({"type": "allowed_tools", "allowed_tools":
                {"mode": "auto", "tools": [tool("a")]}}),
            vec!["a"],
            false,
        ),
        (
            json!({"type": "allowed_tools", "allowed_tools":
                {"mode": "required", "tools": [tool("b")]}}),
            vec!["b"],
            true,
        ),
    ] {
        let native = one(json!({"tools": [tool("a"), tool("b")], "tool_choice": choice}));
        let names: Vec<_> = native
            .tools
            .iter()
            .map(|tool| tool.function.name.as_str())
            .collect();
        let must_call = must_call.then_some(MustCall::One);
        assert_eq!((names, native.must_call), (shown, must_call), "{choice}");
    }
}

#[test]
fn several_calls_are_required_only_of_clients_that_ask_for_it() {
    let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
    for (choice, parallel, must_call) in [
        (json!("required"), json!(true), Some(MustCall::Some)),
        (json!("required"), json!(false), Some(MustCall::One)),
        (json!("required"), json!(null), Some(MustCall::One)),
        (tool("a"), json!(true), Some(MustCall::One)),
        (json!("auto"), json!(true), None),
    ] {
        let native = one(
            json!({"tools": [tool("a"), tool("b")], "tool_choice": choice,
            "parallel_tool_calls": parallel}),
        );
        assert_eq!(native.must_call, must_call, "{choice} {parallel}");
    }
}

#[test]
fn choices_of_a_fixed_seed_differ() {
    let seeds: Vec<_> = read(json!({"n": 3, "seed": i64::MAX}))
        .unwrap()
        .iter()
        .map(|native| native.common.options.seed.unwrap())
        .collect();
    assert_eq!(seeds, [i64::MAX, i64::MIN, i64::MIN + 1]);
}
