//! Messages: blocks, thinking, stop reasons, counters, system prompts.

use serde_json::{Value, json};

use super::{MESSAGES, answer, body, joined, server};
use crate::support::TestServer;

/// The content of the answer to a request.
async fn content(server: &TestServer, body: &Value) -> Value {
    answer(server, body).await["content"].clone()
}

#[tokio::test]
async fn an_answer_has_every_key_that_typed_clients_read() {
    let server = server().await;
    let message = answer(&server, &body("One <two>.")).await;
    let text = json!([{"type": "text", "text": "One <two>."}]);
    assert_eq!(message["content"], text);
    assert_eq!(message["type"], "message");
    assert_eq!(message["role"], "assistant");
    assert_eq!(message["model"], "m");
    assert_eq!(message["stop_reason"], "end_turn");
    assert_eq!(message.get("stop_sequence"), Some(&Value::Null));
    let usage = &message["usage"];
    assert!(usage["input_tokens"].as_u64() > Some(0));
    assert!(usage["output_tokens"].as_u64() > Some(0));
    assert_eq!(usage["cache_creation_input_tokens"], 0);
}

#[tokio::test]
async fn why_an_answer_ended_is_told() {
    let server = server().await;
    for (field, value, text, reason, sequence) in [
        (
            "stop_sequences",
            json!(["##", "zz"]),
            "abc",
            "stop_sequence",
            json!("##"),
        ),
        (
            "stop_sequences",
            json!(["none"]),
            "abc##def",
            "end_turn",
            Value::Null,
        ),
        ("max_tokens", json!(1), "a", "max_tokens", Value::Null),
    ] {
        let mut body = body("abc##def");
        body[field] = value;
        let message = answer(&server, &body).await;
        assert_eq!(message["content"][0]["text"], text, "{field}");
        assert_eq!(message["stop_reason"], reason);
        assert_eq!(message["stop_sequence"], sequence);
    }
}

#[tokio::test]
async fn thinking_is_signed_and_comes_back() {
    let server = server().await;
    let mut request = body("[[say <think>Let me see.</think>Four.]]");
    request["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    let shown = content(&server, &request).await;
    assert_eq!(shown[0]["thinking"], "Let me see.");
    assert!(!shown[0]["signature"].as_str().unwrap().is_empty());
    assert_eq!(shown[1]["text"], "Four.");

    request["thinking"] = json!({"type": "adaptive", "display": "omitted"});
    let hidden = content(&server, &request).await;
    assert_eq!(hidden[0]["thinking"], "");
    assert_eq!(hidden[1]["text"], "Four.");
    // The model sees the same history with either form, and a longer one than without the blocks.
    let count = async |blocks: Value| {
        let mut body = request.clone();
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "assistant", "content": blocks}));
        messages.push(json!({"role": "user", "content": "And?"}));
        let counted = server.post("/v1/messages/count_tokens", &body).await.ok();
        counted.json()["input_tokens"].as_u64().unwrap()
    };
    let counts = [
        count(shown.clone()).await,
        count(hidden).await,
        count(json!([shown[1]])).await,
    ];
    assert_eq!(counts[0], counts[1]);
    assert!(counts[0] > counts[2]);
}

#[tokio::test]
async fn a_model_that_cannot_think_ignores_the_wish() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let mut request = body("Hello");
    request["model"] = "tiny".into();
    request["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    request["output_config"] = json!({"effort": "high"});
    assert_eq!(content(&server, &request).await[0]["text"], "Hello");
}

#[tokio::test]
async fn cached_tokens_are_told_apart() {
    let server = server().await;
    let mut request = body("A prompt that is long enough to be found in the cache.");
    let first = server.post(MESSAGES, &request).await.ok().json();
    request["stream"] = true.into();
    let events = server.post(MESSAGES, &request).await.ok().named_events();
    let total = first["usage"]["input_tokens"].as_u64().unwrap();
    assert_eq!(first["usage"]["cache_read_input_tokens"], 0);
    // The whole prompt is counted before it is computed.
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], total);
    let usage = &events[events.len() - 2]["usage"];
    let cached = usage["cache_read_input_tokens"].as_u64().unwrap();
    assert!(cached > 0);
    assert_eq!(usage["input_tokens"].as_u64().unwrap() + cached, total);
    let counted = server.post("/v1/messages/count_tokens", &request).await;
    assert_eq!(counted.ok().json(), json!({"input_tokens": total}));
}

/// The length of the prompt that the model gets.
async fn length(server: &TestServer, body: &Value) -> u64 {
    let counted = server.post("/v1/messages/count_tokens", body).await.ok();
    counted.json()["input_tokens"].as_u64().unwrap()
}

#[tokio::test]
async fn system_prompts_come_in_every_form() {
    let server = server().await;
    let mut plain = body("Hello");
    let without = length(&server, &plain).await;
    plain["system"] = "Be brief.\n\nBe kind.".into();
    let expected = length(&server, &plain).await;
    assert!(expected > without);
    let mut blocks = body("Hello");
    blocks["system"] = json!([
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=abc;"},
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be kind."},
    ]);
    assert_eq!(length(&server, &blocks).await, expected);
    let mut among = body("Hello");
    let messages = among["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "system", "content": "Be brief."}));
    messages.push(json!({"role": "system", "content": [{"type": "text", "text": "Be kind."}]}));
    assert_eq!(length(&server, &among).await, expected);
}

#[tokio::test]
async fn documents_and_unknown_fields_are_no_obstacle() {
    let server = server().await;
    let mut request = body(json!([
        {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "Body"}},
        {"type": "mystery", "payload": {"a": [1]}},
    ]));
    for (field, value) in [
        ("metadata", json!({"user_id": "u"})),
        (
            "context_management",
            json!({"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}),
        ),
        ("service_tier", json!("auto")),
        ("mcp_servers", json!([])),
        ("container", Value::Null),
        ("cache_control", json!({"type": "ephemeral"})),
    ] {
        request[field] = value;
    }
    let path = format!("{MESSAGES}?beta=true");
    let answered = server.post(&path, &request).await.ok();
    assert!(answered.headers.contains_key("request-id"));
    assert_eq!(answered.json()["content"][0]["text"], "T\nBody");
}

#[tokio::test]
async fn a_schema_holds() {
    let server = server().await;
    let schema = json!({"type": "json_schema", "schema": {"type": "object",
        "properties": {"answer": {"type": "string"}}, "required": ["answer"]}});
    for place in ["output_config", "output_format"] {
        let mut request = body("Hi");
        request[place] = if place == "output_config" {
            json!({"format": schema})
        } else {
            schema.clone()
        };
        let text = content(&server, &request).await[0]["text"].clone();
        assert_eq!(text, r#"{"answer":"Hi"}"#, "{place}");
    }
}

#[tokio::test]
async fn a_long_silence_is_filled() {
    let server = server().await;
    let mut request = body("[[slow 11000]]a");
    request["stream"] = true.into();
    let events = server.post(MESSAGES, &request).await.ok().named_events();
    let n_pings = events
        .iter()
        .filter(|event| event["type"] == "ping")
        .count();
    // One ping follows the first event, as in Anthropic's streams.
    assert!(n_pings > 1, "{events:?}");
    assert_eq!(joined(&events, "/delta/text"), "a");
}
