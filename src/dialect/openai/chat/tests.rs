//! Chat requests and responses as JSON.

use jiff::Timestamp;
use serde_json::json;

use super::super::Head;
use super::*;
use crate::chat::{Image, Message, ToolCall, ToolCallFunction, Turn};
use crate::error::ErrorKind;
use crate::inference::{Chunk, Done, DoneReason, Logprob, MustCall, Timings, TopLogprob};

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
    // Line breaks as MIME has them, and last bits that nothing needs.
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

// Answers.

#[test]
fn a_call_of_a_function_is_spelled_as_one() {
    let call = |name: &str| ToolCall {
        id: "call_1".to_owned(),
        function: ToolCallFunction {
            name: name.to_owned(),
            ..ToolCallFunction::default()
        },
    };
    let style = Style {
        has_functions: true,
        ..Style::default()
    };
    let chunk = || Chunk {
        tool_calls: vec![call("f")],
        ..Chunk::default()
    };
    let mut fold = ChatFold::new(head(), 1, style);
    fold.push(0, chunk());
    fold.push(0, done(DoneReason::Stop));
    let whole = serde_json::to_value(fold.end()).unwrap();
    let choice = &whole["choices"][0];
    let called = json!({"name": "f", "arguments": "{}"});
    assert_eq!(choice["message"]["function_call"], called);
    assert_eq!(choice["message"].get("tool_calls"), None);
    assert_eq!(choice["finish_reason"], "function_call");
    let mut stream = ChatStream::new(head(), 1, style);
    let events = serde_json::to_value(stream.push(0, chunk())).unwrap();
    assert_eq!(events[0]["choices"][0]["delta"]["function_call"], called);
    let events = serde_json::to_value(stream.push(0, done(DoneReason::Stop))).unwrap();
    assert_eq!(events[0]["choices"][0]["finish_reason"], "function_call");
}

fn head() -> Head {
    Head {
        id: "chatcmpl-1".to_owned(),
        created: 12,
        model: "m".to_owned(),
    }
}

fn text(content: &str) -> Chunk {
    Chunk {
        content: content.to_owned(),
        ..Chunk::default()
    }
}

fn thought(thinking: &str) -> Chunk {
    Chunk {
        thinking: thinking.to_owned(),
        ..Chunk::default()
    }
}

fn call() -> Chunk {
    Chunk {
        tool_calls: vec![ToolCall {
            id: "call_1".to_owned(),
            function: ToolCallFunction {
                index: 0,
                name: "f".to_owned(),
                arguments: serde_json::from_str(r#"{"b":1,"a":"<"}"#).unwrap(),
            },
        }],
        ..Chunk::default()
    }
}

fn done(reason: DoneReason) -> Chunk {
    Chunk {
        done: Some(Done {
            reason,
            timings: Some(Timings {
                n_prompt: 10,
                n_cached: 4,
                n_generated: 3,
                n_thinking: 2,
                ..Timings::default()
            }),
            context: None,
            debug: None,
            prompt_truncated: false,
        }),
        ..Chunk::default()
    }
}

/// The choices of all events of a stream.
fn streamed(chunks: Vec<Chunk>) -> Vec<Value> {
    let mut stream = ChatStream::new(head(), 1, Style::default());
    let mut events = Vec::new();
    for chunk in chunks {
        for event in stream.push(0, chunk) {
            let event = serde_json::to_value(event).unwrap();
            events.push(event["choices"][0].clone());
        }
    }
    assert!(stream.end().is_none());
    events
}

fn folded(chunks: Vec<Chunk>) -> Value {
    let mut fold = ChatFold::new(head(), 1, Style::default());
    for chunk in chunks {
        fold.push(0, chunk);
    }
    serde_json::to_value(fold.end()).unwrap()
}

#[test]
fn whole_answer() {
    let chunks = vec![text("Hel"), text("lo"), done(DoneReason::Stop)];
    let answer = serde_json::to_string(&folded(chunks)).unwrap();
    assert_eq!(
        answer,
        concat!(
            r#"{"id":"chatcmpl-1","object":"chat.completion","created":12,"model":"m","#,
            r#""system_fingerprint":"fp_ollama","choices":[{"index":0,"#,
            r#""message":{"role":"assistant","content":"Hello","refusal":null},"#,
            r#""finish_reason":"stop","logprobs":null}],"#,
            r#""usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13,"#,
            r#""prompt_tokens_details":{"cached_tokens":4},"#,
            r#""completion_tokens_details":{"reasoning_tokens":2}}}"#
        )
    );
}

#[test]
fn whole_answer_with_reasoning_and_a_call() {
    let answer = folded(vec![thought("hm"), call(), done(DoneReason::Stop)]);
    assert_eq!(
        answer["choices"][0],
        json!({"index": 0, "finish_reason": "tool_calls", "logprobs": null, "message": {
            "role": "assistant", "content": "", "refusal": null, "reasoning": "hm", "tool_calls": [
                {"id": "call_1", "index": 0, "type": "function",
                 "function": {"name": "f", "arguments": "{\"b\":1,\"a\":\"<\"}"}}]}})
    );
}

#[test]
fn length_wins_over_calls_and_loads_read_as_stop() {
    for (reason, word) in [
        (DoneReason::Length, json!("length")),
        (DoneReason::Load, json!("stop")),
        (DoneReason::Unload, json!("stop")),
        (DoneReason::Debug, json!(null)),
    ] {
        let answer = folded(vec![done(reason)]);
        assert_eq!(answer["choices"][0]["finish_reason"], word);
    }
    let answer = folded(vec![call(), done(DoneReason::Length)]);
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
}

#[test]
fn rendered_prompt_is_in_the_answer() {
    let mut chunk = done(DoneReason::Debug);
    chunk.done.as_mut().unwrap().debug = Some(("<s>hi".to_owned(), 2));
    assert_eq!(
        folded(vec![chunk])["_debug_info"],
        json!({"rendered_template": "<s>hi", "image_count": 2})
    );
}

#[test]
fn streamed_text() {
    assert_eq!(
        streamed(vec![text("a"), text("b"), done(DoneReason::Length)]),
        [
            json!({"index": 0, "delta": {"role": "assistant", "content": "a"}, "finish_reason": null}),
            json!({"index": 0, "delta": {"content": "b"}, "finish_reason": null}),
            json!({"index": 0, "delta": {}, "finish_reason": "length"}),
        ]
    );
}

#[test]
fn streamed_reasoning_then_a_call() {
    let boundary = Chunk {
        content: "so".to_owned(),
        ..thought("b")
    };
    assert_eq!(
        streamed(vec![thought("a"), boundary, call(), done(DoneReason::Stop)]),
        [
            json!({"index": 0, "delta": {"role": "assistant", "content": "", "reasoning": "a"}, "finish_reason": null}),
            json!({"index": 0, "delta": {"reasoning": "b"}, "finish_reason": null}),
            json!({"index": 0, "delta": {"content": "so"}, "finish_reason": null}),
            json!({"index": 0, "delta": {"content": "", "tool_calls": [
                {"id": "call_1", "index": 0, "type": "function",
                 "function": {"name": "f", "arguments": "{\"b\":1,\"a\":\"<\"}"}}]}, "finish_reason": null}),
            json!({"index": 0, "delta": {}, "finish_reason": "tool_calls"}),
        ]
    );
}

#[test]
fn an_empty_answer_still_has_its_role() {
    assert_eq!(
        streamed(vec![done(DoneReason::Stop)]),
        [
            json!({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}),
            json!({"index": 0, "delta": {}, "finish_reason": "stop"}),
        ]
    );
}

#[test]
fn text_of_the_last_chunk_comes_before_the_finish() {
    let last = Chunk {
        content: "end".to_owned(),
        ..done(DoneReason::Stop)
    };
    let events = streamed(vec![text("a"), last]);
    assert_eq!(events[1]["delta"], json!({"content": "end"}));
    assert_eq!(events[2]["finish_reason"], "stop");
}

#[test]
fn logprobs_are_where_they_were_asked_for() {
    let with = |logprob| Chunk {
        logprobs: vec![Logprob {
            token: "a".to_owned(),
            logprob,
            bytes: vec![97],
            top: vec![TopLogprob {
                token: "b".to_owned(),
                logprob: -1.5,
                bytes: vec![98],
            }],
        }],
        ..text("a")
    };
    let expected = |logprob: f32| {
        json!({"refusal": null, "content": [{"token": "a", "logprob": logprob, "bytes": [97],
            "top_logprobs": [{"token": "b", "logprob": -1.5, "bytes": [98]}]}]})
    };
    let events = streamed(vec![with(-0.5)]);
    assert_eq!(events[0]["logprobs"], expected(-0.5));
    // JSON has no infinity.
    let events = streamed(vec![with(f32::NEG_INFINITY)]);
    assert_eq!(events[0]["logprobs"], expected(-9999.0));
    let answer = folded(vec![with(-0.5), with(-0.5), done(DoneReason::Stop)]);
    let content = &answer["choices"][0]["logprobs"]["content"];
    assert_eq!(content.as_array().unwrap().len(), 2);
}

#[test]
fn usage_counts_a_shared_prompt_once() {
    let mut stream = ChatStream::new(
        head(),
        2,
        Style {
            include_usage: true,
            ..Style::default()
        },
    );
    for index in [1, 0] {
        let events = serde_json::to_value(stream.push(index, done(DoneReason::Stop))).unwrap();
        assert_eq!(events[0].get("usage"), Some(&Value::Null));
    }
    assert_eq!(
        serde_json::to_value(stream.end()).unwrap(),
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 12, "model": "m",
            "system_fingerprint": "fp_ollama", "choices": [],
            "usage": {"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 4}}})
    );
}

#[test]
fn a_prediction_is_passed_on_and_counted() {
    let ask = |prediction: Value| {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}],
            "prediction": prediction});
        requests(serde_json::from_value(body).unwrap())
    };
    let text = json!({"type": "content", "content": "one two"});
    let parts = json!({"type": "content", "content": [
        {"type": "text", "text": "one "}, {"type": "text", "text": "two"}]});
    for prediction in [text, parts] {
        assert_eq!(ask(prediction).unwrap()[0].common.prediction, "one two");
    }
    assert_eq!(ask(Value::Null).unwrap()[0].common.prediction, "");
    for wrong in [
        json!({"type": "other", "content": "x"}),
        json!({"type": "content"}),
    ] {
        let error = ask(wrong).unwrap_err();
        assert!(error.param.unwrap().starts_with("prediction."));
    }
    let style = Style {
        is_predicted: true,
        ..Style::default()
    };
    let mut fold = ChatFold::new(head(), 1, style);
    let mut chunk = done(DoneReason::Stop);
    let timings = chunk.done.as_mut().unwrap().timings.as_mut().unwrap();
    (timings.n_drafted, timings.n_accepted) = (9, 7);
    fold.push(0, chunk);
    let answer = serde_json::to_value(fold.end()).unwrap();
    let details = &answer["usage"]["completion_tokens_details"];
    assert_eq!(details["accepted_prediction_tokens"], 7);
    assert_eq!(details["rejected_prediction_tokens"], 2);
}

#[test]
fn each_choice_of_a_stream_has_its_own_role_and_finish() {
    let mut stream = ChatStream::new(head(), 2, Style::default());
    let mut seen = Vec::new();
    for (index, chunk) in [
        (0, text("a")),
        (1, text("b")),
        (0, done(DoneReason::Stop)),
        (1, done(DoneReason::Length)),
    ] {
        for event in stream.push(index, chunk) {
            let choice = &event.choices[0];
            seen.push((
                choice.index,
                choice.delta.role,
                choice.finish_reason.is_some(),
            ));
        }
    }
    assert_eq!(
        seen,
        [
            (0, Some("assistant"), false),
            (1, Some("assistant"), false),
            (0, None, true),
            (1, None, true)
        ]
    );
}

#[test]
fn ids_have_their_prefix_and_are_not_repeated() {
    let mut rng = fastrand::Rng::with_seed(1);
    let now = Timestamp::from_second(99).unwrap();
    let first = Head::new("chatcmpl-", "m", now, &mut rng);
    let second = Head::new("chatcmpl-", "m", now, &mut rng);
    assert!(first.id.starts_with("chatcmpl-"));
    assert_ne!(first.id, second.id);
    assert_eq!((first.created, first.model.as_str()), (99, "m"));
}
