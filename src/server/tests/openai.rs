//! OpenAI's routes, as far as they work without a running model. Integration tests cover answers of models.

use serde_json::{Value, json};

use super::{Answer, Fixture};
use crate::model::gguf::builder::GgufBuilder;

/// The status and the object of a JSON answer.
fn object(answer: &Answer) -> (u16, Value) {
    let kind = answer.header("content-type");
    assert!(kind.starts_with("application/json"), "{kind}");
    (answer.status, answer.json())
}

fn envelope(message: &str, kind: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
}

/// The envelope with a parameter and a code.
fn about(mut envelope: Value, param: &str, code: &str) -> Value {
    envelope["error"]["param"] = param.into();
    envelope["error"]["code"] = code.into();
    envelope
}

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}]})
}

#[tokio::test]
async fn an_unknown_model_is_not_found() {
    let fixture = Fixture::new();
    let mut streamed = chat("nope");
    streamed["stream"] = json!(true);
    for (path, body, message) in [
        (
            "/v1/chat/completions",
            chat("nope"),
            "model 'nope' not found",
        ),
        ("/v1/chat/completions", streamed, "model 'nope' not found"),
        (
            "/v1/completions",
            json!({"model": "nope", "prompt": "x"}),
            "model 'nope' not found",
        ),
        (
            "/v1/completions",
            json!({"prompt": "x"}),
            "model '' not found",
        ),
        (
            "/v1/embeddings",
            json!({"model": "nope", "input": "x"}),
            "model \"nope\" not found, try pulling it first",
        ),
    ] {
        let expected = envelope(message, "not_found_error");
        let expected = (404, about(expected, "model", "model_not_found"));
        let answer = fixture.post(path, body).await;
        assert_eq!(object(&answer), expected, "{path}");
    }
    let expected = envelope("model 'nope:latest' not found", "not_found_error");
    let expected = about(expected, "model", "model_not_found");
    let answer = fixture.call("GET /v1/models/nope", "").await;
    assert_eq!(object(&answer), (404, expected));
}

#[tokio::test]
async fn mistakes_are_400_in_the_envelope() {
    let fixture = Fixture::new();
    fixture.add_model("m");
    for (path, body, message) in [
        ("/v1/chat/completions", "", "EOF"),
        ("/v1/completions", " ", "EOF"),
        ("/v1/embeddings", "{\"model\"", "unexpected EOF"),
    ] {
        let answer = fixture.call(&format!("POST {path}"), body).await;
        let expected = (400, envelope(message, "invalid_request_error"));
        assert_eq!(object(&answer), expected, "{path} {body}");
    }
    for (path, body, message, param, code) in [
        (
            "/v1/chat/completions",
            r#"{"model":"m"}"#,
            "[] is too short - 'messages'",
            "messages",
            "empty_array",
        ),
        (
            "/v1/chat/completions",
            r#"{"messages":[{"role":"user","content":"x"}]}"#,
            "model is required",
            "model",
            "missing_required_parameter",
        ),
        (
            "/v1/embeddings",
            r#"{"model":"m"}"#,
            "invalid input",
            "input",
            "missing_required_parameter",
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"m","messages":[{"role":"user","content":7}]}"#,
            "invalid message content type: float64",
            "messages[0]",
            "invalid_value",
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"m","reasoning_effort":"low","messages":[{"role":"user","content":"x"}]}"#,
            "\"m\" does not support thinking",
            "reasoning_effort",
            "unsupported_value",
        ),
        (
            "/v1/completions",
            r#"{"model":"m","prompt":"a","suffix":"b"}"#,
            "registry.ollama.ai/library/m:latest does not support insert",
            "suffix",
            "unsupported_value",
        ),
    ] {
        let answer = fixture.call(&format!("POST {path}"), body).await;
        let expected = envelope(message, "invalid_request_error");
        assert_eq!(
            object(&answer),
            (400, about(expected, param, code)),
            "{path} {body}"
        );
    }
}

/// On Ollama's routes they are 500, as there.
#[tokio::test]
async fn mistakes_that_only_show_with_the_model_are_400_too() {
    let fixture = Fixture::new();
    let template = "{{ raise_exception('only one turn') }}";
    let gguf = GgufBuilder::model("llama").value("tokenizer.chat_template", template);
    fixture.add("m", &json!({}), gguf);
    let mut body = chat("m");
    body["guided_regex"] = json!(5);
    let answer = fixture.post("/v1/chat/completions", body).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["param"], "guided_regex");
    let body = json!({"model": "m", "format": 5, "messages": chat("m")["messages"]});
    assert_eq!(fixture.post("/api/chat", body).await.status, 500);
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_is_a_status_in_both_modes() {
    let fixture = Fixture::new();
    let gguf = GgufBuilder::model("llama").value("tokenizer.chat_template", "{{ 1 }}");
    fixture.add("m", &json!({}), gguf);
    for is_stream in [false, true] {
        let mut body = chat("m");
        body["stream"] = json!(is_stream);
        let (status, answer) = object(&fixture.post("/v1/chat/completions", body).await);
        assert_eq!(status, 500);
        assert_eq!(answer["error"]["type"], "api_error");
        assert_ne!(answer["error"]["message"], "");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let fixture = Fixture::with(|config| config.max_body_bytes = 100);
    let body = json!({"model": "m", "input": "x".repeat(100)});
    let (status, answer) = object(&fixture.post("/v1/embeddings", body).await);
    assert_eq!(status, 413);
    assert!(answer["error"]["message"].is_string());
}

#[tokio::test]
async fn other_methods_and_paths_are_told_in_the_envelope() {
    let fixture = Fixture::new();
    for (line, allow) in [
        ("GET /v1/completions", "POST"),
        ("PUT /v1/chat/completions", "GET, POST"),
        ("DELETE /v1/models/a/b", "GET"),
    ] {
        let answer = fixture.call(line, "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, allow));
        let (method, path) = line.split_once(' ').unwrap();
        let error = &object(&answer).1["error"];
        assert_eq!(
            error["message"],
            format!("Not allowed to {method} on {path}")
        );
        assert_eq!(error["code"], "method_not_supported");
    }
    for path in [
        "/v1/nothing",
        "/v1/images/generations",
        "/v1",
        "/v1/",
        "/v1/chat/nothing",
    ] {
        let answer = fixture.call(&format!("POST {path}"), "{}").await;
        let (status, body) = object(&answer);
        assert_eq!(status, 404);
        let error = &body["error"];
        assert_eq!(error["message"], format!("Invalid URL (POST {path})"));
        assert_eq!(error["type"], "invalid_request_error");
        assert_eq!(error["code"], "unknown_url");
    }
    let answer = fixture.call("POST /api/nothing", "").await;
    let expected = (404, "404 page not found");
    assert_eq!((answer.status, answer.body.as_str()), expected);
}

#[tokio::test]
async fn an_empty_store_lists_nothing() {
    let answer = Fixture::new().call("GET /v1/models", "").await;
    let expected = json!({"object": "list", "data": []});
    assert_eq!(object(&answer), (200, expected));
}

#[tokio::test]
async fn models_are_listed_and_found_by_name() {
    let fixture = Fixture::new();
    fixture.add_model("hf.co/user/repo:Q4");
    let (status, list) = object(&fixture.call("GET /v1/models", "").await);
    assert_eq!(status, 200);
    let model = &list["data"][0];
    assert!(model["created"].as_i64().is_some_and(|seconds| seconds > 0));
    assert_eq!(
        (&model["id"], &model["object"], &model["owned_by"]),
        (
            &json!("hf.co/user/repo:Q4"),
            &json!("model"),
            &json!("user")
        )
    );
    for path in ["hf.co/user/repo:Q4", "hf.co%2Fuser%2Frepo%3AQ4"] {
        let answer = fixture.call(&format!("GET /v1/models/{path}"), "").await;
        assert_eq!(object(&answer), (200, model.clone()), "{path}");
    }
    let answer = fixture.call("GET /v1/models/a@b", "").await;
    let expected = envelope("invalid model name", "invalid_request_error");
    assert_eq!(object(&answer), (400, expected));
}
