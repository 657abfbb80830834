//! Requests and answers as JSON, against the tables of the OpenAI specification A.3.

use serde_json::json;

use super::super::Head;
use super::*;
use crate::inference::{Chunk, Done, DoneReason, Logprob, Timings, TopLogprob};

fn read(body: Value) -> Result<Requests, InferenceError> {
    requests(serde_json::from_value(body).unwrap())
}

#[track_caller]
fn check_options(body: Value, options: Value) {
    let native = read(body).unwrap().natives.remove(0);
    assert_eq!(Value::Object(native.common.options), options);
}

#[test]
fn options() {
    check_options(
        json!({}),
        json!({"temperature": 1.0, "top_p": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}),
    );
    check_options(
        json!({"stop": "x", "max_tokens": 3, "temperature": 0, "top_p": 0,
            "frequency_penalty": 1, "presence_penalty": 2, "seed": 4}),
        json!({"stop": ["x"], "num_predict": 3, "temperature": 0.0, "top_p": 1.0,
            "frequency_penalty": 1.0, "presence_penalty": 2.0, "seed": 4}),
    );
}

#[test]
fn mistakes() {
    for (body, message) in [
        (
            json!({"stop": ["x", 1]}),
            "invalid type for 'stop' field: float64",
        ),
        (
            json!({"stop": [null]}),
            "invalid type for 'stop' field: <nil>",
        ),
        (
            json!({"prompt": [1, 2]}),
            "prompt must be a string or an array of strings",
        ),
        (
            json!({"prompt": {}}),
            "prompt must be a string or an array of strings",
        ),
        (
            json!({"prompt": ["a", "b"], "n": 65}),
            "prompts times n must be at most 128",
        ),
        (json!({"logprobs": 21}), "logprobs must be between 0 and 20"),
    ] {
        assert_eq!(read(body).unwrap_err().message, message);
    }
}

#[test]
fn every_prompt_has_its_choices() {
    let requests = read(json!({"prompt": ["a", "b"], "n": 2, "seed": 5, "suffix": "z"})).unwrap();
    let seen: Vec<_> = requests
        .natives
        .iter()
        .map(|native| {
            (
                native.prompt.as_str(),
                native.suffix.as_str(),
                native.common.options["seed"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [("a", "z", 5), ("a", "z", 6), ("b", "z", 5), ("b", "z", 6)]
    );
    assert_eq!(requests.n_per_prompt, 2);
}

#[test]
fn logprobs_are_on_when_a_number_is_given() {
    for (given, on, top) in [
        (json!(null), false, 0),
        (json!(0), true, 0),
        (json!(5), true, 5),
    ] {
        let native = read(json!({"logprobs": given})).unwrap().natives.remove(0);
        assert_eq!(
            (native.common.logprobs, native.common.top_logprobs),
            (on, top)
        );
    }
}

// Answers.

fn head() -> Head {
    Head {
        id: "cmpl-1".to_owned(),
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

fn done(reason: DoneReason) -> Chunk {
    Chunk {
        done: Some(Done {
            reason,
            timings: Some(Timings {
                n_prompt: 10,
                n_generated: 3,
                ..Timings::default()
            }),
            context: None,
            debug: None,
            prompt_truncated: false,
        }),
        ..Chunk::default()
    }
}

fn token(token: &str) -> Chunk {
    Chunk {
        logprobs: vec![Logprob {
            token: token.to_owned(),
            logprob: -0.5,
            bytes: token.as_bytes().to_vec(),
            top: vec![TopLogprob {
                token: "t".to_owned(),
                logprob: -0.25,
                bytes: vec![116],
            }],
        }],
        ..text(token)
    }
}

#[test]
fn whole_answer() {
    let mut fold = CompletionFold::new(head(), 1, 1);
    for chunk in [text("Hel"), text("lo"), done(DoneReason::Length)] {
        fold.push(0, chunk);
    }
    assert_eq!(
        serde_json::to_string(&fold.end()).unwrap(),
        concat!(
            r#"{"id":"cmpl-1","object":"text_completion","created":12,"model":"m","#,
            r#""system_fingerprint":"fp_ollama","choices":[{"text":"Hello","index":0,"#,
            r#""finish_reason":"length"}],"usage":{"prompt_tokens":10,"completion_tokens":3,"#,
            r#""total_tokens":13,"prompt_tokens_details":{"cached_tokens":0}}}"#
        )
    );
}

#[test]
fn streamed_answer() {
    let mut stream = CompletionStream::new(head(), 1, 1, false);
    let thinking = Chunk {
        thinking: "hm".to_owned(),
        ..Chunk::default()
    };
    assert!(stream.push(0, thinking).is_none());
    let first = serde_json::to_value(stream.push(0, text("a"))).unwrap();
    assert_eq!(
        first,
        json!({"id": "cmpl-1", "object": "text_completion", "created": 12, "model": "m",
            "system_fingerprint": "fp_ollama",
            "choices": [{"text": "a", "index": 0, "finish_reason": null}]})
    );
    let last = serde_json::to_value(stream.push(0, done(DoneReason::Stop))).unwrap();
    assert_eq!(
        last["choices"],
        json!([{"text": "", "index": 0, "finish_reason": "stop"}])
    );
    assert!(stream.end().is_none());
}

#[test]
fn usage_is_zero_until_the_end() {
    let mut stream = CompletionStream::new(head(), 4, 2, true);
    let event = serde_json::to_value(stream.push(0, text("a"))).unwrap();
    assert_eq!(event["usage"]["total_tokens"], 0);
    for index in 0..4 {
        stream.push(index, done(DoneReason::Stop));
    }
    let end = serde_json::to_value(stream.end()).unwrap();
    assert_eq!(end["choices"], json!([]));
    // Two prompts of 10 tokens, four answers of 3.
    assert_eq!(end["usage"]["prompt_tokens"], 20);
    assert_eq!(end["usage"]["completion_tokens"], 12);
}

#[test]
fn logprobs_tell_where_each_token_begins() {
    let half = |byte| {
        let mut chunk = token("\u{fffd}");
        chunk.logprobs[0].bytes = vec![byte];
        chunk
    };
    let chunks = || [half(0xC3), half(0xA9), token("ab"), token("c")];
    let mut fold = CompletionFold::new(head(), 1, 1);
    for chunk in chunks() {
        fold.push(0, chunk);
    }
    let whole = serde_json::to_value(fold.end()).unwrap();
    assert_eq!(
        whole["choices"][0]["logprobs"],
        json!({"tokens": ["\u{fffd}", "\u{fffd}", "ab", "c"],
            "token_logprobs": [-0.5, -0.5, -0.5, -0.5],
            "top_logprobs": [{"t": -0.25}, {"t": -0.25}, {"t": -0.25}, {"t": -0.25}],
            "text_offset": [0, 1, 1, 3]})
    );
    let mut stream = CompletionStream::new(head(), 1, 1, false);
    let offsets: Vec<Value> = chunks()
        .into_iter()
        .map(|chunk| {
            let event = serde_json::to_value(stream.push(0, chunk)).unwrap();
            event["choices"][0]["logprobs"]["text_offset"][0].clone()
        })
        .collect();
    assert_eq!(offsets, [0, 1, 1, 3]);
}
