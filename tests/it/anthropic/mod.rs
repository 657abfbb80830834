//! Anthropic's API.

mod clients;
mod errors;
mod messages;
mod tools;

use serde_json::{Value, json};

use crate::ollama::language::TEMPLATE;
use crate::support::TestServer;
use crate::support::models::fake;

const MESSAGES: &str = "/v1/messages";

/// A server with a model `m` that thinks and calls tools.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let fields = json!({"template": TEMPLATE});
    server.create("m", fake().build(), fields).await.ok();
    server
}

/// A request with one user message.
fn body(content: impl Into<Value>) -> Value {
    json!({"model": "m", "max_tokens": 1000,
        "messages": [{"role": "user", "content": content.into()}]})
}

/// The texts at a JSON pointer, joined.
fn joined(events: &[Value], pointer: &str) -> String {
    let texts = events.iter().filter_map(|event| event.pointer(pointer));
    texts.filter_map(Value::as_str).collect()
}

/// Builds the message of a stream as the official client does, and checks the order of the events.
fn accumulated(events: &[Value]) -> Value {
    let mut events = events.iter().filter(|event| event["type"] != "ping");
    let first = events.next().unwrap();
    assert_eq!(first["type"], "message_start");
    let mut message = first["message"].clone();
    let (mut json, mut is_open, mut has_ended) = (String::new(), false, false);
    for event in events {
        assert!(!has_ended, "an event after message_stop: {event}");
        let blocks = message["content"].as_array_mut().unwrap();
        let index = event["index"]
            .as_u64()
            .and_then(|index| usize::try_from(index).ok());
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!((is_open, index), (false, Some(blocks.len())), "{event}");
                is_open = true;
                json.clear();
                blocks.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                assert_eq!((is_open, index), (true, Some(blocks.len() - 1)), "{event}");
                let block = blocks.last_mut().unwrap();
                let delta = &event["delta"];
                for (kind, field) in [
                    ("text_delta", "text"),
                    ("thinking_delta", "thinking"),
                    ("signature_delta", "signature"),
                ] {
                    if delta["type"] == kind {
                        let text = block[field].as_str().unwrap().to_owned();
                        block[field] = (text + delta[field].as_str().unwrap()).into();
                    }
                }
                if delta["type"] == "input_json_delta" {
                    json += delta["partial_json"].as_str().unwrap();
                }
            }
            "content_block_stop" => {
                assert_eq!((is_open, index), (true, Some(blocks.len() - 1)), "{event}");
                is_open = false;
                if !json.is_empty() {
                    blocks.last_mut().unwrap()["input"] = serde_json::from_str(&json).unwrap();
                }
            }
            "message_delta" => {
                assert!(!is_open, "{event}");
                for field in ["stop_reason", "stop_sequence"] {
                    message[field] = event["delta"][field].clone();
                }
                message["usage"] = event["usage"].clone();
            }
            "message_stop" => has_ended = true,
            other => panic!("unknown event {other}"),
        }
    }
    assert!(has_ended);
    message
}

/// The answer to a request, which is the same streamed and whole.
async fn answer(server: &TestServer, body: &Value) -> Value {
    let mut body = body.clone();
    let mut whole = server.post(MESSAGES, &body).await.ok().json();
    body["stream"] = true.into();
    let events = server.post(MESSAGES, &body).await.ok().named_events();
    let mut streamed = accumulated(&events);
    for message in [&mut whole, &mut streamed] {
        assert!(message["id"].as_str().unwrap().starts_with("msg_"));
        message["id"] = Value::Null;
        for block in message["content"].as_array_mut().unwrap() {
            if block["type"] == "tool_use" {
                assert!(block["id"].as_str().unwrap().starts_with("toolu_"));
                block["id"] = Value::Null;
            }
        }
        // The second request finds the prompt of the first in the cache.
        let usage = message["usage"].as_object_mut().unwrap();
        let cached = usage.remove("cache_read_input_tokens").unwrap();
        let input = usage["input_tokens"].as_u64().unwrap() + cached.as_u64().unwrap();
        usage["input_tokens"] = input.into();
        // Tokens that arrived together are attributed by the lengths of their texts.
        usage.remove("output_tokens_details").unwrap();
    }
    assert_eq!(whole, streamed);
    whole
}
