//! One object of every kind that clients can store, and the routes to them.

use reqwest::Method;
use serde_json::{Value, json};

use super::super::question;
use super::client::{Client, NOTHING, chat_line, text};

/// Ids of everything that a client has stored.
pub(super) struct Stored {
    pub(super) file: String,
    pub(super) upload: String,
    pub(super) part: String,
    pub(super) batch: String,
    pub(super) messages: String,
    pub(super) response: String,
    /// A background response that is still in progress.
    pub(super) running: String,
    pub(super) conversation: String,
    pub(super) item: String,
    pub(super) chat: String,
}

pub(super) const ENDLESS: &str = "[[slow 50]] [[repeat 3000]]abc";

pub(super) async fn stored(client: &Client<'_>) -> Stored {
    let file = text(&client.file(&chat_line("a", "one")).await["id"]);
    let batch = client.batch(&file, "/v1/chat/completions").await;
    assert_eq!(client.ended(&batch).await["status"], "completed");
    let announced =
        json!({"purpose": "batch", "filename": "a.jsonl", "bytes": 2, "mime_type": "text/plain"});
    let upload = text(&client.post("/v1/uploads", &announced).await["id"]);
    let parts = format!("/v1/uploads/{upload}/parts");
    let part = client
        .form(&parts, &[("data", Some("part"), b"ab")])
        .await
        .ok();
    let mut params = question("two");
    params["max_tokens"] = 9.into();
    let requests = json!({"requests": [{"custom_id": "a", "params": params}]});
    let messages = text(&client.post("/v1/messages/batches", &requests).await["id"]);
    let path = format!("/v1/messages/batches/{messages}");
    client
        .until(&path, |batch| batch["processing_status"] == "ended")
        .await;
    let items = json!({"items": [{"type": "message", "role": "user", "content": "first"}]});
    let conversation = text(&client.post("/v1/conversations", &items).await["id"]);
    let path = format!("/v1/conversations/{conversation}/items");
    let item = text(&client.get(&path).await["data"][0]["id"]);
    let response = client
        .post("/v1/responses", &json!({"model": "tiny", "input": "x"}))
        .await;
    let body = json!({"model": "tiny", "input": ENDLESS, "background": true});
    let running = text(&client.post("/v1/responses", &body).await["id"]);
    let path = format!("/v1/responses/{running}");
    client
        .until(&path, |response| response["status"] == "in_progress")
        .await;
    let mut chat = question("three");
    chat["store"] = true.into();
    Stored {
        file,
        upload,
        part: text(&part["id"]),
        batch: text(&batch["id"]),
        messages,
        response: text(&response["id"]),
        running,
        conversation,
        item,
        chat: text(&client.post("/v1/chat/completions", &chat).await["id"]),
    }
}

/// The routes of stored objects are below these paths.
pub(super) const RESOURCES: [&str; 7] = [
    "/v1/files/",
    "/v1/uploads/",
    "/v1/batches/",
    "/v1/messages/batches/",
    "/v1/responses/{id}",
    "/v1/conversations/",
    "/v1/chat/completions/",
];

/// Every route to one of the client's objects: its path, the id in it, the rest of the path, and a body.
pub(super) fn routes(of: &Stored) -> Vec<(Method, &'static str, &str, &'static str, Value)> {
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let (files, uploads, batches) = ("/v1/files/{id}", "/v1/uploads/{id}", "/v1/batches/{id}");
    let (messages, responses) = ("/v1/messages/batches/{id}", "/v1/responses/{id}");
    let (conversations, chats) = ("/v1/conversations/{id}", "/v1/chat/completions/{id}");
    let parts = json!({"part_ids": [of.part]});
    let metadata = json!({"metadata": {"a": "b"}});
    let items = json!({"items": [{"type": "message", "role": "user", "content": "more"}]});
    let mut routes = Vec::new();
    let mut add = |method: &Method, path, id, rest, body: &Value| {
        routes.push((method.clone(), path, id, rest, body.clone()));
    };
    for rest in ["", "/content"] {
        add(&get, files, of.file.as_str(), rest, &NOTHING);
    }
    add(&post, uploads, &of.upload, "/parts", &NOTHING);
    add(&post, uploads, &of.upload, "/complete", &parts);
    add(&post, uploads, &of.upload, "/cancel", &json!({}));
    add(&get, batches, &of.batch, "", &NOTHING);
    add(&post, batches, &of.batch, "/cancel", &json!({}));
    add(&get, messages, &of.messages, "", &NOTHING);
    add(&get, messages, &of.messages, "/results", &NOTHING);
    add(&post, messages, &of.messages, "/cancel", &json!({}));
    for response in [&of.response, &of.running] {
        add(&get, responses, response, "", &NOTHING);
        add(&get, responses, response, "?stream=true", &NOTHING);
        let resumed = "?stream=true&starting_after=1";
        add(&get, responses, response, resumed, &NOTHING);
        add(&get, responses, response, "/input_items", &NOTHING);
        add(&post, responses, response, "/cancel", &json!({}));
        add(&delete, responses, response, "", &NOTHING);
    }
    add(&get, conversations, &of.conversation, "", &NOTHING);
    add(&post, conversations, &of.conversation, "", &metadata);
    add(&get, conversations, &of.conversation, "/items", &NOTHING);
    add(&post, conversations, &of.conversation, "/items", &items);
    add(&get, chats, &of.chat, "", &NOTHING);
    add(&post, chats, &of.chat, "", &metadata);
    add(&get, chats, &of.chat, "/messages", &NOTHING);
    for (path, id) in [
        (files, &of.file),
        (messages, &of.messages),
        (conversations, &of.conversation),
        (chats, &of.chat),
    ] {
        add(&delete, path, id, "", &NOTHING);
    }
    routes
}

/// An id of the same form that no object has.
pub(super) fn unknown(id: &str) -> String {
    let (head, last) = id.split_at(id.len() - 1);
    format!("{head}{}", if last == "0" { "1" } else { "0" })
}

/// Asserts that the answer about another key's id equals the answer about an unknown id.
pub(super) async fn is_as_unknown(
    client: &Client<'_>,
    method: &Method,
    path: &str,
    id: &str,
    body: &Value,
) -> u16 {
    let (none, body) = (unknown(id), body.to_string());
    let mut answers = Vec::new();
    for asked in [id, &none] {
        let url = format!("{}{}", client.server.url, path.replace("{id}", asked));
        let request = if path.ends_with("/parts") {
            let path = path.replace("{id}", asked);
            client.server.form(&path, &[("data", Some("part"), b"ab")])
        } else {
            let request = client.server.http.request(method.clone(), url);
            request.body(body.replace("{id}", asked))
        };
        answers.push(client.send(request).await.about(asked));
    }
    assert_eq!(answers[0], answers[1], "{method} {path}");
    assert!(
        answers[0].text.contains("ID"),
        "{method} {path} {answers:?}"
    );
    answers[0].status
}
