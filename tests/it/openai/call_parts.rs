//! Arguments of calls in parts, in the streams of every protocol.

use serde_json::{Value, json};

use crate::ollama::language::{TEMPLATE, calls_of};
use crate::support::TestServer;
use crate::support::models::fake;

/// As models write them; clients get them without the blanks.
const WRITTEN: &str = r#"{"city": "Ulm \u00e9", "days": [1, 2.50],  "note": "a\nb \"c\" }{"}"#;

/// Formats of calls: the fields of the model, the text around the arguments, and whether the call is forced.
fn formats() -> Vec<(&'static str, Value, [&'static str; 2], bool)> {
    let named = r#"{"name": "weather", "arguments": "#;
    let tagged = r#"<tool_call>{"name": "weather", "arguments": "#;
    vec![
        (
            "tag",
            json!({"template": TEMPLATE}),
            [tagged, "}</tool_call>"],
            false,
        ),
        ("forced", json!({"template": TEMPLATE}), [named, "}"], true),
        (
            "qwen3",
            json!({"renderer": "qwen3-vl-instruct", "parser": "qwen3-vl-instruct"}),
            [tagged, "}</tool_call>"],
            false,
        ),
        (
            "ministral",
            json!({"template": TEMPLATE, "parser": "ministral"}),
            ["[TOOL_CALLS]weather[ARGS]", ""],
            false,
        ),
        (
            "harmony",
            json!({"template": TEMPLATE, "parser": "harmony"}),
            [
                "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>",
                "",
            ],
            false,
        ),
    ]
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"},
        "days": {"type": "array"}, "note": {"type": "string"}}})
}

async fn events(server: &TestServer, path: &str, body: &Value) -> Vec<Value> {
    let mut body = body.clone();
    body["stream"] = true.into();
    let answer = server.post(path, &body).await.ok();
    let data = answer
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let data = data.filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// The texts of all events of a kind.
fn texts(events: &[Value], kind: &str, pointer: &str) -> Vec<String> {
    let events = events.iter().filter(|event| event["type"] == kind);
    let texts = events.filter_map(|event| event.pointer(pointer)?.as_str());
    texts.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_protocol_streams_the_arguments_of_calls() {
    let expected = serde_json::from_str::<Value>(WRITTEN).unwrap().to_string();
    for (name, fields, [before, after], is_forced) in formats() {
        let server = TestServer::start().await;
        server.create("m", fake().build(), fields).await.ok();
        let question = format!("[[slow 3]][[say {before}{WRITTEN}{after}]]");
        let messages = json!([{"role": "user", "content": question}]);

        let path = "/v1/chat/completions";
        let mut body = json!({"model": "m", "messages": messages, "tools":
            [{"type": "function", "function": {"name": "weather", "parameters": schema()}}]});
        if is_forced {
            body["tool_choice"] = "required".into();
        }
        let whole = server.post(path, &body).await.ok().json();
        let arguments = &whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"];
        assert_eq!(*arguments, expected, "{name}: {whole}");
        let streamed = events(&server, path, &body).await;
        let calls = calls_of(&streamed, "delta");
        assert_eq!(calls[0]["function"]["arguments"], expected, "{name}");
        assert_eq!(calls[0]["function"]["name"], "weather", "{name}");
        let is_part = |event: &&Value| event.pointer("/choices/0/delta/tool_calls").is_some();
        let n_parts = streamed.iter().filter(is_part).count();
        assert!(n_parts > 1, "{name}: {n_parts} {streamed:?}");
        // The older format has no field for parts.
        let mut older = json!({"model": "m", "messages": messages,
            "functions": [{"name": "weather", "parameters": schema()}]});
        if is_forced {
            older["function_call"] = json!({"name": "weather"});
        }
        let streamed = events(&server, path, &older).await;
        let mut calls = streamed
            .iter()
            .filter_map(|event| event.pointer("/choices/0/delta/function_call"));
        assert_eq!(calls.next().unwrap()["arguments"], expected, "{name}");
        assert_eq!(calls.next(), None, "{name}");

        let mut body = json!({"model": "m", "input": question, "tools":
            [{"type": "function", "name": "weather", "parameters": schema(), "strict": false}]});
        if is_forced {
            body["tool_choice"] = "required".into();
        }
        let streamed = events(&server, "/v1/responses", &body).await;
        let kind = "response.function_call_arguments.delta";
        let parts = texts(&streamed, kind, "/delta");
        assert!(parts.len() > 1, "{name}: {parts:?}");
        assert_eq!(parts.concat(), expected, "{name}");
        let kind = "response.function_call_arguments.done";
        assert_eq!(
            texts(&streamed, kind, "/arguments"),
            std::slice::from_ref(&expected),
            "{name}"
        );

        let mut body = json!({"model": "m", "max_tokens": 1000, "messages": messages,
            "tools": [{"name": "weather", "input_schema": schema()}]});
        if is_forced {
            body["tool_choice"] = json!({"type": "any"});
        }
        let streamed = events(&server, "/v1/messages", &body).await;
        let parts = texts(&streamed, "content_block_delta", "/delta/partial_json");
        assert!(parts.len() > 1, "{name}: {parts:?}");
        assert_eq!(parts.concat(), expected, "{name}");
        let reasons = texts(&streamed, "message_delta", "/delta/stop_reason");
        assert_eq!(reasons, ["tool_use"], "{name}");
    }
}

/// A limit leaves the beginning of the arguments, as in other servers, and nothing of the call's syntax.
#[tokio::test]
async fn a_call_that_is_cut_leaks_nothing() {
    let expected = serde_json::from_str::<Value>(WRITTEN).unwrap().to_string();
    for (name, fields, [before, after], is_forced) in formats() {
        let server = TestServer::start().await;
        server.create("m", fake().build(), fields).await.ok();
        let question = format!("[[say {before}{WRITTEN}{after}]]");
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": question}],
            "tools": [{"type": "function", "function": {"name": "weather", "parameters": schema()}}]});
        if is_forced {
            body["tool_choice"] = "required".into();
        }
        for limit in [1, 5, 20, 40, 80, 95] {
            body["max_tokens"] = limit.into();
            let streamed = events(&server, "/v1/chat/completions", &body).await;
            let deltas = streamed
                .iter()
                .filter_map(|event| event.pointer("/choices/0/delta"));
            let content: String = deltas
                .filter_map(|delta| delta["content"].as_str())
                .collect();
            assert_eq!(content, "", "{name} {limit}");
            let calls = calls_of(&streamed, "delta");
            if let Some(call) = calls.first() {
                let arguments = call["function"]["arguments"].as_str().unwrap();
                assert!(
                    expected.starts_with(arguments),
                    "{name} {limit}: {arguments}"
                );
            }
            let reason = &streamed.last().unwrap()["choices"][0]["finish_reason"];
            assert!(
                reason == "length" || calls.len() == 1,
                "{name} {limit}: {reason}"
            );
        }
    }
}
