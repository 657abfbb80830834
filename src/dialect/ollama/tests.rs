//! Tests of Ollama's dialect, in tables.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::api::ollama as api;
use crate::chat::{ToolCall, ToolCallFunction};
use crate::config::KeepAlive;
use crate::error::ErrorKind;
use crate::inference::{Chunk, Done, DoneReason, EmbedResponse, Logprob, Timings, TopLogprob};
use crate::protocol::EmbedInput;

fn seconds(count: u64) -> Option<KeepAlive> {
    Some(KeepAlive::For(Duration::from_secs(count)))
}

#[test]
fn keep_alive_in_all_forms() {
    let forever = Some(KeepAlive::Forever);
    for (value, expected) in [
        (json!(null), None),
        (json!(0), seconds(0)),
        (json!(30), seconds(30)),
        (
            json!(1.5),
            Some(KeepAlive::For(Duration::from_millis(1500))),
        ),
        (json!(-1), forever),
        (json!(-0.5), forever),
        (json!(1e300), forever),
        (json!("5m"), seconds(300)),
        (json!("1h30m"), seconds(5400)),
        (json!("0"), seconds(0)),
        (json!("-1m"), forever),
        (json!("2562047h"), forever),
    ] {
        assert_eq!(keep_alive(&value).unwrap(), expected, "{value}");
    }
    for (value, text) in [
        (json!("5"), "time: missing unit in duration \"5\""),
        (json!("abc"), "time: invalid duration \"abc\""),
        (json!(true), "Unsupported type: 'bool'"),
        (json!([]), "Unsupported type: '[]interface {}'"),
        (json!({}), "Unsupported type: 'map[string]interface {}'"),
    ] {
        let error = keep_alive(&value).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.message, text);
    }
}

#[test]
fn top_logprobs_have_bounds() {
    for (count, good) in [(-1, false), (0, true), (20, true), (21, false)] {
        let request = api::ChatRequest {
            top_logprobs: count,
            ..api::ChatRequest::default()
        };
        let result = chat(request, String::new());
        assert_eq!(result.is_ok(), good, "{count}");
        if let Err(error) = result {
            assert_eq!(error.message, "top_logprobs must be between 0 and 20");
        }
    }
}

#[test]
fn think_has_ollamas_errors() {
    for (value, text) in [
        (
            json!("x"),
            "invalid think value: \"x\" (must be \"high\", \"medium\", \"low\", \"max\", true, or false)",
        ),
        (
            json!(1),
            "think must be a boolean or string (\"high\", \"medium\", \"low\", \"max\", true, or false)",
        ),
    ] {
        let request = api::GenerateRequest {
            think: value,
            ..api::GenerateRequest::default()
        };
        assert_eq!(generate(request, String::new()).unwrap_err().message, text);
    }
}

#[test]
fn inputs_of_embed() {
    let inputs = |input: Value| {
        let request = api::EmbedRequest {
            input,
            dimensions: -3,
            ..api::EmbedRequest::default()
        };
        let request = embed(request, String::new()).map_err(|error| error.message)?;
        assert_eq!(request.dimensions, 0);
        let texts = request.inputs.into_iter().map(|input| match input {
            EmbedInput::Text(text) => text,
            other => panic!("{other:?}"),
        });
        Ok::<_, String>(texts.collect::<Vec<_>>())
    };
    for nothing in [json!(null), json!(""), json!([])] {
        assert_eq!(inputs(nothing).unwrap(), Vec::<String>::new());
    }
    assert_eq!(inputs(json!("a")).unwrap(), ["a"]);
    assert_eq!(inputs(json!(["a", ""])).unwrap(), ["a", ""]);
    for bad in [json!(1), json!({}), json!(["a", 1]), json!([[1]])] {
        assert_eq!(inputs(bad).unwrap_err(), "invalid input type");
    }
}

#[test]
fn create_knows_the_old_names() {
    let request = api::CreateRequest {
        quantization: "q8_0".to_owned(),
        license: Some(api::StringOrList::One("MIT".to_owned())),
        ..api::CreateRequest::default()
    };
    let request = create(request);
    assert_eq!(request.quantize, "q8_0");
    assert_eq!(request.licenses, ["MIT"]);
    assert_eq!(request.from, None);
}

fn now() -> Timestamp {
    "2026-08-21T10:00:00.120Z".parse().unwrap()
}

fn done(reason: DoneReason) -> Done {
    Done {
        reason,
        timings: None,
        context: None,
        debug: None,
        prompt_truncated: false,
    }
}

fn text(content: &str, end: Option<Done>) -> Chunk {
    Chunk {
        content: content.to_owned(),
        done: end,
        ..Chunk::default()
    }
}

fn finished() -> Done {
    Done {
        timings: Some(Timings {
            total: Duration::from_nanos(6),
            load: Duration::from_nanos(5),
            n_prompt: 4,
            n_cached: 1,
            prompt: Duration::from_nanos(3),
            n_generated: 2,
            n_thinking: 0,
            generate: Duration::from_nanos(1),
            ..Timings::default()
        }),
        ..done(DoneReason::Stop)
    }
}

#[track_caller]
fn check_chat(chunk: Chunk, expected: &str) {
    let answer = chat_chunk("m", chunk, now());
    let head = "{\"model\":\"m\",\"created_at\":\"2026-08-21T10:00:00.12Z\",";
    assert_eq!(
        serde_json::to_string(&answer).unwrap(),
        format!("{head}{expected}")
    );
}

#[track_caller]
fn check_generate(chunk: Chunk, expected: &str) {
    let answer = generate_chunk("m", chunk, now());
    let head = "{\"model\":\"m\",\"created_at\":\"2026-08-21T10:00:00.12Z\",";
    assert_eq!(
        serde_json::to_string(&answer).unwrap(),
        format!("{head}{expected}")
    );
}

#[test]
fn chat_objects() {
    check_chat(
        text("Hi", None),
        r#""message":{"role":"assistant","content":"Hi"},"done":false}"#,
    );
    check_chat(
        text("", Some(done(DoneReason::Unload))),
        r#""message":{"role":"assistant","content":""},"done":true,"done_reason":"unload"}"#,
    );
    check_chat(
        text("", Some(finished())),
        r#""message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":6,"load_duration":5,"prompt_eval_count":4,"prompt_eval_cached_count":1,"prompt_eval_duration":3,"eval_count":2,"eval_duration":1}"#,
    );
    let debug = Done {
        debug: Some(("<prompt>".to_owned(), 2)),
        ..done(DoneReason::Debug)
    };
    check_chat(
        text("", Some(debug)),
        r#""message":{"role":"","content":""},"done":false,"_debug_info":{"rendered_template":"<prompt>","image_count":2}}"#,
    );
}

#[test]
fn generate_objects() {
    check_generate(text("Hi", None), r#""response":"Hi","done":false}"#);
    check_generate(
        text("", Some(done(DoneReason::Load))),
        r#""response":"","done":true,"done_reason":"load"}"#,
    );
    let end = Done {
        context: Some(vec![1, 2]),
        ..finished()
    };
    check_generate(
        text("", Some(end)),
        r#""response":"","done":true,"done_reason":"stop","context":[1,2],"total_duration":6,"load_duration":5,"prompt_eval_count":4,"prompt_eval_cached_count":1,"prompt_eval_duration":3,"eval_count":2,"eval_duration":1}"#,
    );
    let debug = Done {
        debug: Some(("p".to_owned(), 0)),
        ..done(DoneReason::Debug)
    };
    check_generate(
        text("", Some(debug)),
        r#""response":"","done":false,"_debug_info":{"rendered_template":"p"}}"#,
    );
}

#[test]
fn tool_calls_have_ids_in_chat_only() {
    let call = ToolCall {
        id: "call_1".to_owned(),
        function: ToolCallFunction {
            index: 0,
            name: "f".to_owned(),
            ..ToolCallFunction::default()
        },
    };
    let chunk = Chunk {
        tool_calls: vec![call],
        ..Chunk::default()
    };
    check_chat(
        chunk.clone(),
        r#""message":{"role":"assistant","content":"","tool_calls":[{"id":"call_1","function":{"index":0,"name":"f","arguments":{}}}]},"done":false}"#,
    );
    check_generate(
        chunk,
        r#""response":"","done":false,"tool_calls":[{"function":{"index":0,"name":"f","arguments":{}}}]}"#,
    );
}

#[test]
fn logprobs_have_bytes_and_alternatives() {
    let chunk = Chunk {
        logprobs: vec![Logprob {
            token: "a".to_owned(),
            logprob: -0.5,
            bytes: vec![97],
            top: vec![TopLogprob {
                token: String::new(),
                logprob: -1.0,
                bytes: Vec::new(),
            }],
        }],
        ..Chunk::default()
    };
    check_generate(
        chunk,
        r#""response":"","done":false,"logprobs":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"","logprob":-1.0}]}]}"#,
    );
}

#[test]
fn embeddings_without_input_have_no_counters() {
    let answer = embed_answer("m".to_owned(), EmbedResponse::default());
    assert_eq!(
        serde_json::to_string(&answer).unwrap(),
        r#"{"model":"m","embeddings":[]}"#
    );
    let answer = embeddings_answer(EmbedResponse {
        vectors: vec![vec![0.5, -0.25]],
        ..EmbedResponse::default()
    });
    assert_eq!(answer.embedding, [0.5, -0.25]);
    assert!(
        embeddings_answer(EmbedResponse::default())
            .embedding
            .is_empty()
    );
}
