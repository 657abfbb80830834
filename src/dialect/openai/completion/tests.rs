//! Completion requests and responses as JSON.

use serde_json::json;

use super::super::Head;
use super::*;
use crate::inference::{Chunk, Done, DoneReason, Echo, Logprob, PromptToken, Timings, TopLogprob};

fn read(body: Value) -> Result<Requests, RequestError> {
    requests(serde_json::from_value(body).unwrap())
}

#[track_caller]
fn check_options(body: Value, options: Value) {
    let native = read(body).unwrap().natives.remove(0);
    let expected = OptionPatch::parse(options.as_object().unwrap()).unwrap();
    assert_eq!(native.common.options, expected);
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
            json!({"prompt": [1, "a"]}),
            "prompt must be a string, tokens, or an array of either",
        ),
        (
            json!({"prompt": {}}),
            "prompt must be a string, tokens, or an array of either",
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
                native.common.options.seed.unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [("a", "z", 5), ("a", "z", 6), ("b", "z", 5), ("b", "z", 6)]
    );
    assert_eq!((requests.kept.n_made, requests.kept.n_kept), (2, 2));
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

const KEPT: Kept = Kept {
    n_made: 1,
    n_kept: 1,
    logprobs: true,
};

#[test]
fn prompts_may_be_tokens() {
    for (prompt, tokens) in [
        (json!([1, 2]), vec![vec![1, 2]]),
        (json!([[1, 2], [3]]), vec![vec![1, 2], vec![3]]),
        (json!(["a", [3]]), vec![vec![], vec![3]]),
    ] {
        let natives = read(json!({"prompt": prompt})).unwrap().natives;
        let read: Vec<_> = natives.into_iter().map(|native| native.tokens).collect();
        assert_eq!(read, tokens);
    }
    for wrong in [json!([-1.5]), json!([[]]), json!([1, [2]]), json!([])] {
        let error = read(json!({"prompt": wrong})).unwrap_err();
        assert_eq!(
            (error.param.as_deref(), error.code),
            (Some("prompt"), Some("invalid_type"))
        );
    }
}

#[test]
fn more_answers_are_made_than_are_returned() {
    let requests = read(json!({"prompt": ["a", "b"], "n": 2, "best_of": 3})).unwrap();
    assert_eq!(requests.natives.len(), 6);
    assert!(requests.natives.iter().all(|native| native.common.logprobs));
    let kept = requests.kept;
    assert_eq!((kept.n_made, kept.n_kept, kept.logprobs), (3, 2, false));
    let mut fold = CompletionFold::new(head(), 6, kept);
    let mut said = |index: usize, content: &str, logprob: f32| {
        let mut chunk = token(content);
        chunk.logprobs[0].logprob = logprob;
        fold.push(index, chunk);
        fold.push(index, done(DoneReason::Stop));
    };
    said(0, "a0", -3.0);
    said(1, "a1", -1.0);
    said(2, "a2", -2.0);
    said(3, "b0", -1.0);
    said(4, "b1", -3.0);
    said(5, "b2", -2.0);
    let whole = serde_json::to_value(fold.end()).unwrap();
    let choices = whole["choices"].as_array().unwrap().iter();
    let choices: Vec<_> = choices
        .map(|choice| {
            (
                choice["index"].as_u64(),
                choice["text"].as_str(),
                &choice["logprobs"],
            )
        })
        .collect();
    let text = |index, text| (Some(index), Some(text), &Value::Null);
    assert_eq!(
        choices,
        [text(0, "a1"), text(1, "a2"), text(2, "b0"), text(3, "b2")]
    );
    // All of them were generated.
    assert_eq!(whole["usage"]["completion_tokens"], 18);
    assert_eq!(whole["usage"]["prompt_tokens"], 20);
    for wrong in [
        json!({"best_of": 21}),
        json!({"best_of": 0}),
        json!({"best_of": 1, "n": 2}),
        json!({"best_of": 2, "stream": true}),
        json!({"best_of": 20, "prompt": vec!["a"; 7]}),
    ] {
        assert!(read(wrong.clone()).is_err(), "{wrong}");
    }
    assert_eq!(
        read(json!({"best_of": 1, "stream": true}))
            .unwrap()
            .natives
            .len(),
        1
    );
}

#[test]
fn the_prompt_comes_before_the_answer_where_that_is_asked_for() {
    let native = read(json!({"prompt": "a", "echo": true}))
        .unwrap()
        .natives
        .remove(0);
    assert!(native.echo && native.may_be_empty);
    assert!(!native.raw && native.prompt_logprobs.is_none());
    let natives = read(json!({"prompt": ["a", "b"], "echo": true, "logprobs": 1}));
    let natives = natives.unwrap().natives;
    assert!(
        natives
            .iter()
            .all(|native| native.raw && native.common.logprobs)
    );
    assert_eq!(natives[0].prompt_logprobs, Some(1 << 19));
    let body = json!({"prompt": "a", "echo": true, "logprobs": 1, "suffix": "b"});
    assert_eq!(read(body).unwrap_err().param.as_deref(), Some("suffix"));
}

#[test]
fn the_tokens_of_a_prompt_come_before_those_of_the_answer() {
    let prompt = |token: &str, logprob| PromptToken {
        token: String::from_utf8_lossy(token.as_bytes()).into_owned(),
        logprob,
        bytes: token.as_bytes().to_vec(),
        top: vec![
            TopLogprob {
                token: "t".to_owned(),
                logprob: -0.25,
                bytes: vec![116],
            };
            usize::from(logprob.is_some())
        ],
    };
    let echo = || Chunk {
        echo: Some(Echo {
            text: "Hé llo".to_owned(),
            tokens: vec![
                prompt("<bos>", None),
                prompt(" Hé", Some(-2.0)),
                prompt(" llo", Some(f32::NEG_INFINITY)),
            ],
        }),
        ..token("!")
    };
    let expected = json!({"tokens": ["<bos>", " Hé", " llo", "!", "c"],
        "token_logprobs": [null, -2.0, -9999.0, -0.5, -0.5],
        "top_logprobs": [null, {"t": -0.25}, {"t": -0.25}, {"t": -0.25}, {"t": -0.25}],
        "text_offset": [0, 0, 2, 6, 7]});
    let mut fold = CompletionFold::new(head(), 1, KEPT);
    fold.push(0, echo());
    fold.push(0, token("c"));
    let whole = serde_json::to_value(fold.end()).unwrap();
    assert_eq!(whole["choices"][0]["text"], "Hé llo!c");
    assert_eq!(whole["choices"][0]["logprobs"], expected);
    let mut stream = CompletionStream::new(head(), 1, 1, false);
    let first = serde_json::to_value(stream.push(0, echo())).unwrap();
    assert_eq!(first["choices"][0]["text"], "Hé llo!");
    let offsets = &first["choices"][0]["logprobs"]["text_offset"];
    assert_eq!(*offsets, json!([0, 0, 2, 6]));
    // The prompt does not count towards an answer's likelihood.
    let kept = Kept {
        n_made: 2,
        n_kept: 1,
        logprobs: true,
    };
    let mut fold = CompletionFold::new(head(), 2, kept);
    for (index, logprobs) in [(0, vec![-1.0]), (1, vec![-1.5, -1.5])] {
        fold.push(index, echo());
        for logprob in logprobs {
            let mut chunk = token("x");
            chunk.logprobs[0].logprob = logprob;
            fold.push(index, chunk);
        }
    }
    let whole = serde_json::to_value(fold.end()).unwrap();
    assert_eq!(whole["choices"][0]["text"], "Hé llo!x");
}

#[test]
fn of_alternatives_with_the_same_text_the_best_is_told() {
    let mut chunk = token("a");
    let mut worse = chunk.logprobs[0].top[0].clone();
    worse.logprob = -7.0;
    chunk.logprobs[0].top.push(worse);
    let mut fold = CompletionFold::new(head(), 1, KEPT);
    fold.push(0, chunk);
    let whole = serde_json::to_value(fold.end()).unwrap();
    assert_eq!(
        whole["choices"][0]["logprobs"]["top_logprobs"],
        json!([{"t": -0.25}])
    );
}

#[test]
fn whole_answer() {
    let mut fold = CompletionFold::new(head(), 1, KEPT);
    for chunk in [text("Hel"), text("lo"), done(DoneReason::Length)] {
        fold.push(0, chunk);
    }
    assert_eq!(
        serde_json::to_string(&fold.end()).unwrap(),
        concat!(
            r#"{"id":"cmpl-1","object":"text_completion","created":12,"model":"m","#,
            r#""system_fingerprint":"fp_ollama","choices":[{"text":"Hello","index":0,"#,
            r#""finish_reason":"length","logprobs":null}],"usage":{"prompt_tokens":10,"#,
            r#""completion_tokens":3,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":0},"#,
            r#""completion_tokens_details":{"reasoning_tokens":0}}}"#
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
            "choices": [{"text": "a", "index": 0, "finish_reason": null, "logprobs": null}]})
    );
    let last = serde_json::to_value(stream.push(0, done(DoneReason::Stop))).unwrap();
    assert_eq!(
        last["choices"],
        json!([{"text": "", "index": 0, "finish_reason": "stop", "logprobs": null}])
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
    let mut fold = CompletionFold::new(head(), 1, KEPT);
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
