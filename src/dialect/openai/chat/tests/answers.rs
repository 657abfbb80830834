//! Chunks to answers, whole and streamed.

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::chat::{CallPart, ToolCall, ToolCallFunction};
use crate::dialect::openai::Head;
use crate::inference::{Chunk, Done, DoneReason, Logprob, Timings, TopLogprob};

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

fn part(name: &str, arguments: &str) -> Chunk {
    Chunk {
        call_parts: vec![CallPart {
            index: 0,
            id: "call_1".to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        }],
        ..Chunk::default()
    }
}

#[test]
fn streamed_parts_of_a_call() {
    let function = |text: &str| json!({"arguments": text});
    let event = |delta: Value| json!({"index": 0, "delta": delta, "finish_reason": null});
    let two = Chunk {
        tool_calls: [call().tool_calls, call().tool_calls].concat(),
        ..part("", "<\"}")
    };
    let parts = vec![part("f", "{\"b\":1"), part("", ",\"a\":\""), two];
    assert_eq!(
        streamed([parts.clone(), vec![done(DoneReason::Stop)]].concat()),
        [
            event(json!({"role": "assistant", "content": "", "tool_calls": [
                {"id": "call_1", "index": 0, "type": "function",
                 "function": {"name": "f", "arguments": "{\"b\":1"}}]})),
            event(
                json!({"content": "", "tool_calls": [{"index": 0, "function": function(",\"a\":\"")}]})
            ),
            event(json!({"content": "", "tool_calls": [
                {"index": 0, "function": function("<\"}")},
                // No part of the second call was sent.
                {"id": "call_1", "index": 0, "type": "function",
                 "function": {"name": "f", "arguments": "{\"b\":1,\"a\":\"<\"}"}}]})),
            json!({"index": 0, "delta": {}, "finish_reason": "tool_calls"}),
        ]
    );
    // A call that is cut off does not count.
    let cut = streamed(vec![part("f", "{\"b\""), done(DoneReason::Length)]);
    assert_eq!(cut[1]["finish_reason"], "length");
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
