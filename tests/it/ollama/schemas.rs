//! Schemas that Ollama accepts, and schemas that no answer can match, with a real model.

use serde_json::{Value, json};

use super::real::{TOOLS_TEMPLATE, with_model};
use crate::support::TestServer;

const MODEL: &str = "smollm2-135m";

fn question(format: Value) -> Value {
    json!({"model": MODEL, "stream": false, "format": format,
        "messages": [{"role": "user", "content": "Who is Bob? Answer in JSON."}],
        "options": {"temperature": 0, "num_predict": 3000, "num_ctx": 4096}})
}

/// The answer, which must be complete.
async fn answer(server: &TestServer, format: Value) -> Value {
    let answer = server
        .post("/api/chat", &question(format.clone()))
        .await
        .ok()
        .json();
    assert_eq!(answer["done_reason"], "stop", "{format} {answer}");
    serde_json::from_str(answer["message"]["content"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn schemas_that_ollama_takes_are_taken() {
    let Some(server) = with_model(MODEL).await else {
        return;
    };
    // Two levels of JSON each.
    let mut deep = json!({"type": "boolean"});
    for _ in 0..70 {
        deep = json!({"type": "object", "properties": {"a": deep}, "required": ["a"]});
    }
    let mut value = answer(&server, deep).await;
    for _ in 0..70 {
        value = value["a"].take();
    }
    assert!(value.is_boolean(), "{value}");
    let text = json!({"type": "string", "pattern": "^(?=.*[0-9]).+$", "maxLength": 20});
    let schema = json!({"type": "object", "properties": {"code": text}, "required": ["code"]});
    assert!(answer(&server, schema).await["code"].is_string());
    // The bound is beyond all numbers.
    let schema = r#"{"type":"object","required":["n"],"properties":{"n":{"type":"integer",
        "minimum":-1.8e308,"maximum":1.8e308}}}"#;
    let body = question(json!("SCHEMA"))
        .to_string()
        .replace("\"SCHEMA\"", schema);
    let whole = server
        .request(reqwest::Method::POST, "/api/chat", body.into_bytes())
        .await
        .ok();
    let content = whole.json()["message"]["content"]
        .as_str()
        .unwrap()
        .to_owned();
    let value: Value = serde_json::from_str(&content).unwrap();
    assert!(value["n"].is_i64(), "{content}");
}

#[tokio::test]
async fn a_schema_that_no_text_matches_is_the_clients_mistake() {
    let Some(server) = with_model(MODEL).await else {
        return;
    };
    for schema in [
        json!({"type": "string", "pattern": "^a$", "minLength": 5}),
        json!({"type": "integer", "minimum": 5, "maximum": 4}),
        json!({"$ref": "#"}),
        json!({"allOf": [{"const": 1}, {"const": 2}]}),
        json!({"enum": []}),
    ] {
        let refused = server.post("/api/chat", &question(schema.clone())).await;
        assert_eq!(refused.status, 400, "{schema} {}", refused.text);
        assert!(
            !refused.text.contains("NoExtensionBias"),
            "{}",
            refused.text
        );
        let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "x"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}});
        let refused = server.post("/v1/chat/completions", &body).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert_eq!(refused.json()["error"]["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn json_ends_with_its_last_brace() {
    let Some(server) = with_model(MODEL).await else {
        return;
    };
    let mut n_ended = 0;
    for seed in 0..6 {
        let mut body = question(json!("json"));
        body["options"] = json!({"seed": seed, "temperature": 0.7, "num_predict": 150});
        let answer = server.post("/api/chat", &body).await.ok().json();
        let content = answer["message"]["content"].as_str().unwrap();
        let is_whole = serde_json::from_str::<Value>(content).is_ok();
        // Nothing follows a complete answer, not even white space.
        assert_eq!(answer["done_reason"] == "stop", is_whole, "{content:?}");
        assert_eq!(content.ends_with('}'), is_whole, "{content:?}");
        n_ended += usize::from(is_whole);
    }
    assert!(n_ended > 0);
}

#[tokio::test]
async fn a_function_without_parameters_is_called_without_any() {
    let Some(server) = with_model(MODEL).await else {
        return;
    };
    let caller =
        json!({"model": "caller", "from": MODEL, "template": TOOLS_TEMPLATE, "stream": false});
    server.post("/api/create", &caller).await.ok();
    for parameters in [
        json!(null),
        json!({}),
        json!({"type": "object", "properties": {}}),
    ] {
        let tool =
            json!({"type": "function", "function": {"name": "now", "parameters": parameters}});
        let body = json!({"model": "caller", "temperature": 0, "tools": [tool], "tool_choice": "required",
            "messages": [{"role": "user", "content": "What time is it in Ulm?"}]});
        let answer = server.post("/v1/chat/completions", &body).await.ok().json();
        let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
        assert_eq!(
            (&call["name"], &call["arguments"]),
            (&json!("now"), &json!("{}"))
        );
    }
}
