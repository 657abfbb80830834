//! Steps to events: their order, their indices, and every way to end.

use proptest::prelude::*;

use super::*;
use crate::chat::{CallPart, ToolCall, ToolCallFunction};
use crate::inference::Logprob;

fn call(name: &str) -> Chunk {
    let function = ToolCallFunction {
        name: name.to_owned(),
        arguments: serde_json::from_value(json!({"a": 1})).unwrap(),
        ..ToolCallFunction::default()
    };
    Chunk {
        tool_calls: vec![ToolCall {
            id: "call_1".to_owned(),
            function,
        }],
        ..Chunk::default()
    }
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

/// A call in parts, and a text after it.
fn parts_and_text() -> Vec<Chunk> {
    let last = Chunk {
        content: "so".to_owned(),
        tool_calls: call("f").tool_calls,
        ..part("", "1}")
    };
    vec![part("f", "{"), part("", "\"a\":"), last]
}

fn text(text: &str) -> Chunk {
    Chunk {
        content: text.to_owned(),
        ..Chunk::default()
    }
}

fn thought(text: &str) -> Chunk {
    Chunk {
        thinking: text.to_owned(),
        ..Chunk::default()
    }
}

fn done(reason: DoneReason) -> Ending {
    let timings = Timings {
        n_prompt: 10,
        n_cached: 4,
        n_generated: 5,
        n_thinking: 2,
        ..Timings::default()
    };
    let done = Done {
        reason,
        timings: Some(timings),
        context: None,
        debug: None,
        prompt_truncated: false,
    };
    Ending::of(&done, 9)
}

fn told(body: Value, chunks: Vec<Chunk>, ending: Ending) -> (Vec<Value>, Value) {
    let mut body = body;
    body.as_object_mut().unwrap().extend([
        ("model".to_owned(), json!("m")),
        ("input".to_owned(), json!("q")),
    ]);
    let asked = asked(body).unwrap();
    let mut events = Vec::new();
    let mut tell = |event: &crate::api::openai::responses::Event<'_>| {
        events.push(serde_json::to_value(event).unwrap());
    };
    let mut writer = Writer::new(asked.response, asked.style);
    writer.begin(&mut tell);
    for step in chunks.into_iter().filter_map(Step::of) {
        writer.push(step, &mut tell);
    }
    writer.end(ending, &mut tell);
    writer.last(&mut tell);
    check(&events);
    (events, serde_json::to_value(writer.response()).unwrap())
}

/// Checks what holds for every stream; rebuilds the output from the events as clients do.
#[track_caller]
fn check(events: &[Value]) {
    let mut open: BTreeMap<u64, Value> = BTreeMap::new();
    let mut finished: BTreeMap<u64, Value> = BTreeMap::new();
    let mut deltas: BTreeMap<(u64, String), String> = BTreeMap::new();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
        let kind = event["type"].as_str().unwrap();
        let Some(index) = event["output_index"].as_u64() else {
            continue;
        };
        match kind {
            "response.output_item.added" => {
                assert!(open.is_empty(), "an item is open: {event}");
                assert_eq!(index, finished.len() as u64);
                assert_eq!(event["item"]["status"], "in_progress");
                open.insert(index, event["item"]["id"].clone());
            }
            "response.output_item.done" => {
                assert_eq!(open.remove(&index), Some(event["item"]["id"].clone()));
                finished.insert(index, event["item"].clone());
            }
            kind => {
                assert_eq!(open.get(&index), Some(&event["item_id"]), "{event}");
                let (what, is_delta) = match kind.rsplit_once('.').unwrap() {
                    (what, "delta") => (what, true),
                    (what, _) => (what, false),
                };
                let joined = deltas.entry((index, what.to_owned())).or_default();
                if is_delta {
                    joined.push_str(event["delta"].as_str().unwrap());
                } else if let Some(text) = event["text"].as_str().or(event["arguments"].as_str()) {
                    assert_eq!(joined, text, "{event}");
                }
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let last = &events[events.len() - 1]["response"];
    let finished: Vec<_> = finished.into_values().collect();
    assert_eq!(last["output"], Value::Array(finished));
}

/// The kinds of events without the prefix `response.`; deltas of one item are joined.
fn kinds(events: &[Value]) -> String {
    let mut kinds: Vec<_> = events
        .iter()
        .map(|event| {
            event["type"]
                .as_str()
                .unwrap()
                .trim_start_matches("response.")
        })
        .collect();
    kinds.dedup();
    kinds.join(" ")
}

#[test]
fn a_text() {
    let chunks = vec![text("a"), text("b")];
    let (events, response) = told(json!({}), chunks, done(DoneReason::Stop));
    let expected = "created in_progress output_item.added content_part.added output_text.delta \
        output_text.done content_part.done output_item.done completed";
    assert_eq!(kinds(&events), expected);
    let message = json!({"type": "message", "id": "msg_xo0", "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "ab", "annotations": [], "logprobs": []}]});
    assert_eq!(response["output"], json!([message]));
    assert_eq!(
        (&response["status"], &response["completed_at"]),
        (&json!("completed"), &json!(9))
    );
    let usage = json!({"input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 6},
        "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 15});
    assert_eq!(response["usage"], usage);
    assert_eq!(events[0]["response"]["usage"], Value::Null);
    assert_eq!(events[0]["response"]["output"], json!([]));
}

#[test]
fn thinking_is_raw_or_a_summary_as_asked_for() {
    let chunks = || vec![thought("h"), thought("m"), text("a")];
    let (events, response) = told(json!({}), chunks(), done(DoneReason::Stop));
    let expected = "created in_progress output_item.added content_part.added \
        reasoning_text.delta reasoning_text.done content_part.done output_item.done \
        output_item.added content_part.added output_text.delta output_text.done \
        content_part.done output_item.done completed";
    assert_eq!(kinds(&events), expected);
    let item = json!({"type": "reasoning", "id": "rs_xo0", "status": "completed", "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}]});
    assert_eq!(response["output"][0], item);

    let body =
        json!({"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]});
    let (events, response) = told(body, chunks(), done(DoneReason::Stop));
    let expected = "created in_progress output_item.added reasoning_summary_part.added \
        reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done \
        output_item.done output_item.added";
    assert!(kinds(&events).starts_with(expected), "{}", kinds(&events));
    let item = &response["output"][0];
    assert_eq!(
        item["summary"],
        json!([{"type": "summary_text", "text": "hm"}])
    );
    assert!(
        item["encrypted_content"]
            .as_str()
            .unwrap()
            .starts_with("dr1.")
    );
}

#[test]
fn text_calls_and_thinking_in_any_order() {
    let chunks = vec![
        text("let me see"),
        call("f"),
        thought("hm"),
        call("g"),
        text("so"),
    ];
    let (events, response) = told(json!({}), chunks, done(DoneReason::Stop));
    let output = response["output"].as_array().unwrap();
    let types: Vec<_> = output
        .iter()
        .map(|item| item["type"].as_str().unwrap())
        .collect();
    let expected = [
        "message",
        "function_call",
        "reasoning",
        "function_call",
        "message",
    ];
    assert_eq!(types, expected);
    let item = json!({"type": "function_call", "id": "fc_xo1", "status": "completed",
        "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}"});
    assert_eq!(output[1], item);
    let added = events
        .iter()
        .filter(|event| event["type"] == "response.output_item.added");
    let arguments: Vec<_> = added
        .map(|event| event["item"]["arguments"].clone())
        .collect();
    assert_eq!(
        arguments,
        [json!(null), json!(""), json!(null), json!(""), json!(null)]
    );
    // The same, all in one chunk.
    let chunk = Chunk {
        thinking: "hm".to_owned(),
        content: "so".to_owned(),
        ..call("f")
    };
    let (_, response) = told(json!({}), vec![chunk], done(DoneReason::Stop));
    assert_eq!(response["output"].as_array().unwrap().len(), 3);
}

#[test]
fn a_call_in_parts_is_the_whole_call() {
    let (events, response) = told(json!({}), parts_and_text(), done(DoneReason::Stop));
    let (_, whole) = told(
        json!({}),
        vec![call("f"), text("so")],
        done(DoneReason::Stop),
    );
    assert_eq!(response["output"], whole["output"]);
    let kind = "response.function_call_arguments.delta";
    let deltas = events.iter().filter(|event| event["type"] == kind);
    let deltas: Vec<_> = deltas.map(|event| &event["delta"]).collect();
    assert_eq!(deltas, ["{", "\"a\":", "1}"]);
    // A call that is cut off ends as incomplete and is not stored.
    for reason in [DoneReason::Length, DoneReason::Stop] {
        let chunks = vec![text("a"), part("f", "{\"a")];
        let (_, response) = told(json!({}), chunks, done(reason));
        let item = &response["output"][1];
        assert_eq!(
            (&item["status"], &item["arguments"]),
            (&json!("incomplete"), &json!("{\"a"))
        );
    }
}

#[test]
fn a_function_of_a_namespace_is_told_as_such() {
    let tools = json!([{"type": "namespace", "name": "n",
        "tools": [{"type": "function", "name": "f"}]}]);
    let (_, response) = told(
        json!({"tools": tools}),
        vec![call("n.f")],
        done(DoneReason::Stop),
    );
    let item = &response["output"][0];
    assert_eq!(
        (&item["namespace"], &item["name"]),
        (&json!("n"), &json!("f"))
    );
}

#[test]
fn every_cut_closes_what_is_open() {
    let error = RequestError::internal("boom at /srv/models/x");
    let long = RequestError::invalid("too long").coded("context_length_exceeded");
    let pieces = [
        vec![],
        vec![thought("h")],
        vec![text("a")],
        vec![thought("h"), text("a")],
        vec![text("a"), call("f")],
        vec![call("f"), thought("h")],
    ];
    for chunks in pieces {
        let n = chunks.len();
        let is_call = chunks
            .last()
            .is_some_and(|chunk| !chunk.tool_calls.is_empty());
        for (ending, event, status) in [
            (
                done(DoneReason::Length),
                "response.incomplete",
                "incomplete",
            ),
            (Ending::failed(&error, 9), "response.failed", "failed"),
            (Ending::failed(&long, 9), "response.failed", "failed"),
            (Ending::cancelled(9), "response.incomplete", "cancelled"),
        ] {
            let (events, response) = told(json!({}), chunks.clone(), ending);
            let last = &events[events.len() - 1];
            assert_eq!(
                (&last["type"], &response["status"]),
                (&json!(event), &json!(status))
            );
            let output = response["output"].as_array().unwrap();
            assert_eq!(output.len(), n);
            let item_status = if is_call { "completed" } else { "incomplete" };
            assert!(
                output
                    .last()
                    .is_none_or(|item| item["status"] == item_status)
            );
            let reason = &response["incomplete_details"]["reason"];
            assert_eq!(reason == "max_output_tokens", status == "incomplete");
            assert_eq!(response["completed_at"], Value::Null);
        }
    }
    let (_, response) = told(json!({}), vec![], Ending::failed(&error, 9));
    let told_error = json!({"code": "server_error", "message": "boom at x"});
    assert_eq!(response["error"], told_error);
    let (_, response) = told(json!({}), vec![], Ending::failed(&long, 9));
    assert_eq!(response["error"]["code"], "context_length_exceeded");
}

#[test]
fn an_answer_has_a_message_even_if_it_is_empty_and_a_load_has_none() {
    let (_, response) = told(json!({}), vec![], done(DoneReason::Stop));
    assert_eq!(response["output"][0]["content"][0]["text"], "");
    let (_, response) = told(json!({}), vec![thought("h")], done(DoneReason::Stop));
    assert_eq!(response["output"].as_array().unwrap().len(), 2);
    let (events, response) = told(json!({}), vec![], done(DoneReason::Load));
    assert_eq!(kinds(&events), "created in_progress completed");
    assert_eq!(response["output"], json!([]));
}

proptest! {
    /// [`check`] is run on every stream.
    #[test]
    fn whatever_a_model_does_clients_can_follow(
        pieces in prop::collection::vec(0..7_u8, 0..12),
        end in 0..5_u8,
        summarizes: bool,
    ) {
        let chunks = pieces.into_iter().flat_map(|piece| vec![match piece {
            0 => thought("h"),
            1 | 2 => text("a"),
            3 => call("f"),
            4 => Chunk { thinking: "h".to_owned(), ..text("a") },
            5 => Chunk { content: "a".to_owned(), ..call("f") },
            _ => return parts_and_text(),
        }]);
        let ending = match end {
            0 => done(DoneReason::Stop),
            1 => done(DoneReason::Length),
            2 => done(DoneReason::StopSequence("x".to_owned())),
            3 => Ending::cancelled(9),
            _ => Ending::failed(&RequestError::internal("boom"), 9),
        };
        let summary = if summarizes { json!("auto") } else { json!(null) };
        told(json!({"reasoning": {"summary": summary}}), chunks.collect(), ending);
    }
}

#[test]
fn logprobs_belong_to_the_text() {
    let with = |chunk: Chunk, tokens: &[&str]| Chunk {
        logprobs: tokens
            .iter()
            .map(|token| Logprob {
                token: (*token).to_owned(),
                logprob: -0.5,
                bytes: token.bytes().collect(),
                top: Vec::new(),
            })
            .collect(),
        ..chunk
    };
    let chunks = vec![
        with(thought("h"), &["h"]),
        with(Chunk::default(), &["a"]),
        with(text("ab"), &["b"]),
        with(Chunk::default(), &["c"]),
    ];
    let (events, response) = told(json!({}), chunks, done(DoneReason::Stop));
    let tokens = |logprobs: &Value| -> String {
        let all = logprobs.as_array().unwrap().iter();
        all.map(|one| one["token"].as_str().unwrap()).collect()
    };
    let of = |kind: &str| {
        let event = events.iter().find(|event| event["type"] == kind).unwrap();
        tokens(&event["logprobs"])
    };
    assert_eq!(of("response.output_text.delta"), "ab");
    assert_eq!(of("response.output_text.done"), "abc");
    let part = &response["output"][1]["content"][0];
    assert_eq!(tokens(&part["logprobs"]), "abc");
}

#[test]
fn a_stored_response_tells_the_same_events_again() {
    let seal = Seal::random();
    let body = json!({"model": "m", "input": "q", "background": true,
        "reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"],
        "tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}]});
    let asked = asked_with(body, Known::default(), &seal).unwrap();
    let chunks = vec![thought("h"), text("a"), text("b"), call("n.f")];
    let steps: Vec<_> = chunks.into_iter().filter_map(Step::of).collect();
    let ending = done(DoneReason::Length);
    let tell_all = |mut writer: Writer, steps: Vec<Step>, ending: Ending| {
        let mut events = Vec::new();
        let mut tell = |event: &crate::api::openai::responses::Event<'_>| {
            events.push(serde_json::to_value(event).unwrap());
        };
        writer.begin(&mut tell);
        for step in steps {
            writer.push(step, &mut tell);
        }
        writer.end(ending, &mut tell);
        writer.last(&mut tell);
        (events, serde_json::to_string(writer.response()).unwrap())
    };
    let shared = steps.iter().cloned().map(std::sync::Arc::new).collect();
    let text = kept(&asked.style, shared, &ending);
    let writer = Writer::new(asked.response, asked.style);
    let (events, stored) = tell_all(writer, steps, ending);
    assert!(kinds(&events).starts_with("created queued in_progress output_item.added"));
    let replay = Replay::read(&stored, &text, &seal).unwrap();
    let (again, _) = tell_all(
        Writer::new(replay.response, replay.style),
        replay
            .steps
            .iter()
            .map(|step| step.as_ref().clone())
            .collect(),
        replay.ending,
    );
    assert_eq!(again, events);
    assert!(Replay::read("{}", &text, &seal).is_err());
    let changed = with_status(&stored, crate::api::openai::responses::Status::Queued).unwrap();
    assert_eq!(changed["status"], "queued");
}
