//! Stored chats.

use reqwest::Method;
use serde_json::{Value, json};

use crate::ollama::language::TEMPLATE;
use crate::support::models::fake;
use crate::support::{Answer, TestServer};

const PATH: &str = "/v1/chat/completions";

async fn server() -> TestServer {
    let server = TestServer::start().await;
    let made = server.create("m", fake().build(), json!({"template": TEMPLATE}));
    made.await.ok();
    server
}

fn ask(text: &str) -> Value {
    json!({"model": "m", "store": true, "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]})
}

fn with(mut body: Value, extra: Value) -> Value {
    let extra = extra.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(extra);
    body
}

async fn get(server: &TestServer, id: &Value) -> Answer {
    server
        .get(&format!("{PATH}/{}", id.as_str().unwrap()))
        .await
}

/// The contents of a list's chats.
async fn listed(server: &TestServer, query: &str) -> (Vec<String>, Value) {
    let list = server.get(&format!("{PATH}{query}")).await.ok().json();
    let text = |chat: &Value| {
        let text = &chat["choices"][0]["message"]["content"];
        text.as_str().unwrap().to_owned()
    };
    let chats = list["data"].as_array().unwrap();
    (chats.iter().map(text).collect(), list)
}

#[tokio::test]
async fn streamed_and_whole_chats_are_stored_as_they_were_told() {
    let server = server().await;
    let told = server.post(PATH, &ask("One <two>.")).await.ok().json();
    let kept = get(&server, &told["id"]).await.ok().json();
    for (field, value) in told.as_object().unwrap() {
        assert_eq!(&kept[field], value, "{field}");
    }
    let settings = json!({"metadata": {}, "temperature": 1, "top_p": 1, "tools": null,
        "tool_choice": null, "seed": null, "response_format": null, "input_user": null,
        "presence_penalty": 0, "frequency_penalty": 0, "request_id": null});
    for (field, value) in settings.as_object().unwrap() {
        assert_eq!(&kept[field], value, "{field}");
    }

    let calls = with(
        ask(r#"[[say so <tool_call>{"name": "f", "arguments": {"n": 1}}</tool_call>]]"#),
        json!({"stream": true, "n": 2, "seed": 7, "user": "ann", "metadata": {"topic": "calls"},
            "stream_options": {"include_usage": true},
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}),
    );
    let answer = server.post(PATH, &calls).await.ok();
    assert!(answer.text.ends_with("data: [DONE]\n\n"), "{}", answer.text);
    let events = answer.events();
    let kept = get(&server, &events[0]["id"]).await.ok().json();
    assert_eq!(kept["object"], "chat.completion");
    for choice in 0..2 {
        let choice = &kept["choices"][choice];
        assert_eq!(choice["finish_reason"], "tool_calls");
        let call = &choice["message"]["tool_calls"][0]["function"];
        assert_eq!(*call, json!({"name": "f", "arguments": "{\"n\":1}"}));
    }
    let counters = &events[events.len() - 2];
    assert!(counters["usage"].is_object());
    assert_eq!(kept["usage"], counters["usage"]);
    assert_eq!(
        (&kept["metadata"], &kept["seed"], &kept["input_user"]),
        (&json!({"topic": "calls"}), &json!(7), &json!("ann"))
    );
    assert_eq!(kept["tools"][0]["function"]["name"], "f");
}

#[tokio::test]
async fn chats_are_listed_changed_and_deleted() {
    let server = server().await;
    let mut all = Vec::new();
    for (text, topic) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let body = with(
            ask(text),
            json!({"metadata": {"topic": topic, "text": text}}),
        );
        all.push(server.post(PATH, &body).await.ok().json()["id"].clone());
    }
    assert_eq!(listed(&server, "").await.0, ["a", "b", "c"]);
    let (first, list) = listed(&server, "?limit=2").await;
    assert_eq!(first, ["a", "b"]);
    assert_eq!(
        (
            &list["object"],
            &list["has_more"],
            &list["first_id"],
            &list["last_id"]
        ),
        (&json!("list"), &json!(true), &all[0], &all[1])
    );
    let after = all[1].as_str().unwrap();
    assert_eq!(listed(&server, &format!("?after={after}")).await.0, ["c"]);
    let newest = format!("?order=desc&after={after}");
    assert_eq!(listed(&server, &newest).await.0, ["a"]);
    assert_eq!(listed(&server, "?metadata[topic]=x").await.0, ["a", "c"]);
    let both = "?metadata%5Btopic%5D=x&metadata%5Btext%5D=c&model=m";
    assert_eq!(listed(&server, both).await.0, ["c"]);
    assert!(listed(&server, "?model=other").await.0.is_empty());
    for wrong in [
        "?limit=0",
        "?limit=101",
        "?order=up",
        "?after=chatcmpl-none",
    ] {
        assert_eq!(
            server.get(&format!("{PATH}{wrong}")).await.status,
            400,
            "{wrong}"
        );
    }

    let path = format!("{PATH}/{}", all[0].as_str().unwrap());
    let changed = json!({"metadata": {"topic": "z"}});
    let changed = server.post(&path, &changed).await.ok().json();
    assert_eq!(changed["metadata"], json!({"topic": "z"}));
    assert_eq!(get(&server, &all[0]).await.ok().json(), changed);
    assert_eq!(listed(&server, "?metadata[topic]=z").await.0, ["a"]);
    assert_eq!(listed(&server, "?metadata[topic]=x").await.0, ["c"]);
    let refused = server.post(&path, &json!({"metadata": {"n": 1}})).await;
    assert_eq!(refused.status, 400);

    let gone = server.request(Method::DELETE, &path, Vec::new()).await;
    let expected = json!({"id": all[0], "object": "chat.completion.deleted", "deleted": true});
    assert_eq!(gone.ok().json(), expected);
    for method in [Method::GET, Method::DELETE, Method::POST] {
        let answer = server.request(method, &path, b"{}".to_vec()).await;
        let error = &answer.json()["error"];
        assert_eq!(
            (answer.status, &error["code"]),
            (404, &json!("chat_completion_not_found"))
        );
    }
    let answer = server.get(&format!("{path}/messages")).await;
    assert_eq!(answer.status, 404);
    assert_eq!(listed(&server, "").await.0, ["b", "c"]);
}

#[tokio::test]
async fn the_messages_of_a_chat_come_in_pages() {
    let server = server().await;
    let mut body = ask("hello");
    body["messages"] = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "name": "Ann", "content": [{"type": "text", "text": "first"}]},
        {"role": "assistant", "content": "yes", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "done"},
        {"role": "user", "content": "hello"}]);
    let id = server.post(PATH, &body).await.ok().json()["id"].clone();
    let path = format!("{PATH}/{}/messages", id.as_str().unwrap());
    let list = server.get(&path).await.ok().json();
    let messages = list["data"].as_array().unwrap();
    assert_eq!(messages.len(), 5);
    let parts = json!([{"type": "text", "text": "first"}]);
    assert_eq!(
        (
            &messages[1]["content"],
            &messages[1]["content_parts"],
            &messages[1]["name"]
        ),
        (&Value::Null, &parts, &json!("Ann"))
    );
    assert_eq!(messages[2]["tool_calls"], body["messages"][2]["tool_calls"]);
    assert_eq!(messages[3]["tool_call_id"], "c");
    let page = server
        .get(&format!("{path}?order=desc&limit=2"))
        .await
        .ok()
        .json();
    assert_eq!(page["data"], json!([messages[4], messages[3]]));
    assert_eq!(page["has_more"], true);
    let after = page["last_id"].as_str().unwrap();
    let page = server
        .get(&format!("{path}?order=desc&after={after}"))
        .await
        .ok()
        .json();
    assert_eq!(page["data"], json!([messages[2], messages[1], messages[0]]));
    assert_eq!(server.get(&format!("{path}?after=x")).await.status, 400);
}

#[tokio::test]
async fn only_chats_that_ask_for_it_are_stored() {
    let server = server().await;
    for extra in [
        json!({"store": false}),
        json!({"store": null}),
        json!({"model": "none"}),
    ] {
        server.post(PATH, &with(ask("x"), extra)).await;
    }
    assert!(!server.root().join("state/responses.db").exists());
    let wrong = with(ask("x"), json!({"metadata": {"n": 1}}));
    assert_eq!(server.post(PATH, &wrong).await.status, 400);
    // A chat that a client leaves is not stored.
    let long = with(ask(&"word ".repeat(400)), json!({"stream": true}));
    let request = server.http.post(format!("{}{PATH}", server.url));
    let mut response = request.body(long.to_string()).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    drop(response);
    server.post(PATH, &ask("last")).await.ok();
    assert_eq!(listed(&server, "").await.0, ["last"]);

    let builder = TestServer::builder().env("DROVER_RESPONSES_SIZE", "0");
    let server = builder.start().await;
    server.fake_model("m").await;
    let told = server.post(PATH, &ask("x")).await.ok().json();
    assert_eq!(get(&server, &told["id"]).await.status, 404);
    assert!(listed(&server, "").await.0.is_empty());
}
