//! Errors: format, type and status, also in streams.

use serde_json::{Value, json};

use super::{MESSAGES, body, server};

/// The type and message of an error response.
fn error(answer: &crate::support::Answer) -> (u16, String, String) {
    let body = answer.json();
    assert_eq!(body["type"], "error", "{body}");
    assert_eq!(
        body["request_id"],
        answer.headers["request-id"].to_str().unwrap()
    );
    let text = |key: &str| body["error"][key].as_str().unwrap().to_owned();
    (answer.status, text("type"), text("message"))
}

#[tokio::test]
async fn mistakes_are_named() {
    let server = server().await;
    let changed = |field: &str, value: Value| {
        let mut body = body("Hi");
        body[field] = value;
        body
    };
    let block = |block: Value| body(json!([block]));
    for (request, status, kind, message) in [
        (
            changed("model", "".into()),
            400,
            "invalid_request_error",
            "model is required",
        ),
        (
            changed("max_tokens", Value::Null),
            400,
            "invalid_request_error",
            "max_tokens is required and must be positive",
        ),
        (
            changed("max_tokens", 0.into()),
            400,
            "invalid_request_error",
            "must be positive",
        ),
        (
            changed("messages", json!([])),
            400,
            "invalid_request_error",
            "messages is required",
        ),
        (
            changed("model", "nobody".into()),
            404,
            "not_found_error",
            "nobody",
        ),
        (
            changed("temperature", 3.into()),
            400,
            "invalid_request_error",
            "temperature",
        ),
        (
            changed("max_tokens", "x".into()),
            400,
            "invalid_request_error",
            "max_tokens",
        ),
        (
            changed("messages", json!([{"role": "king", "content": "Hi"}])),
            400,
            "invalid_request_error",
            "messages.0.role",
        ),
        (
            changed("messages", json!([{"role": "user"}])),
            400,
            "invalid_request_error",
            "messages.0.content",
        ),
        (
            block(
                json!({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}),
            ),
            400,
            "invalid_request_error",
            "messages.0.content.0.source: invalid image source type: url",
        ),
        (
            block(json!({"type": "image", "source": {"type": "base64", "data": "?"}})),
            400,
            "invalid_request_error",
            "invalid base64 image data",
        ),
        (
            block(
                json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}}),
            ),
            400,
            "invalid_request_error",
            "plain text",
        ),
        (
            block(json!({"type": "tool_use", "name": "f", "input": {}})),
            400,
            "invalid_request_error",
            "missing required 'id' field",
        ),
    ] {
        let answer = server.post(MESSAGES, &request).await;
        let (got, got_kind, text) = error(&answer);
        assert_eq!((got, got_kind.as_str()), (status, kind), "{text}");
        assert!(text.contains(message), "{text:?} lacks {message:?}");
    }
    let answer = server
        .request(reqwest::Method::POST, MESSAGES, b"{".to_vec())
        .await;
    assert_eq!(error(&answer).0, 400);
}

#[tokio::test]
async fn other_paths_and_methods_answer_in_the_same_form() {
    let server = server().await;
    let missing = server.post("/v1/messages/nothing", &json!({})).await;
    assert_eq!(
        (error(&missing).0, error(&missing).1.as_str()),
        (404, "not_found_error")
    );
    assert_eq!(error(&server.get(MESSAGES).await).0, 405);
}

#[tokio::test]
async fn a_runner_that_dies_ends_the_stream_with_an_error() {
    let server = server().await;
    let mut request = body("[[slow 20]][[abort 12]]one two three four five six");
    request["stream"] = true.into();
    let events = server.post(MESSAGES, &request).await.ok().named_events();
    let last = events.last().unwrap();
    assert_eq!(last["type"], "error");
    assert_eq!(last["error"]["type"], "api_error");
    assert!(
        events
            .iter()
            .any(|event| event["type"] == "content_block_delta")
    );
}

#[tokio::test]
async fn models_are_listed_in_the_form_of_the_client_that_asks() {
    let server = server().await;
    let get = async |path: &str| {
        let url = format!("{}{path}", server.url);
        let request = server
            .http
            .get(url)
            .header("anthropic-version", "2023-06-01");
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (status, body)
    };
    let (_, list) = get("/v1/models").await;
    let model = &list["data"][0];
    assert_eq!(
        (&model["type"], &model["id"]),
        (&json!("model"), &json!("m:latest"))
    );
    assert!(model["created_at"].as_str().unwrap().contains('T'));
    assert_eq!(
        (&list["has_more"], &list["first_id"]),
        (&json!(false), &json!("m:latest"))
    );
    assert_eq!(get("/v1/models/m").await.1["id"], "m");
    let (status, missing) = get("/v1/models/nobody").await;
    assert_eq!(
        (status, &missing["error"]["type"]),
        (404, &json!("not_found_error"))
    );
    assert_eq!(server.get("/v1/models").await.json()["object"], "list");
}
