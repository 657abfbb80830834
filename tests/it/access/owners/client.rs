//! A client with a key, and how its answers are compared.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::super::question;
use crate::support::TestServer;

pub(super) const NOTHING: Value = Value::Null;

/// A client with a key; without a key if the text is empty.
pub(super) struct Client<'a> {
    pub(super) server: &'a TestServer,
    pub(super) key: &'a str,
}

/// A whole answer, as bytes.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The names of its headers, sorted.
    pub(super) headers: BTreeSet<String>,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(super) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// The answer independent of its object: `id` is replaced by ID, and the request's own id is left out.
    pub(super) fn about(mut self, id: &str) -> Self {
        self.text = self.text.replace(id, "ID");
        if let Ok(Value::Object(mut body)) = serde_json::from_str(&self.text)
            && let Some(of_request) = body.remove("request_id")
        {
            self.text = self.text.replace(of_request.as_str().unwrap(), "REQUEST");
        }
        self
    }
}

impl<'a> Client<'a> {
    pub(super) fn new(server: &'a TestServer, key: &'a str) -> Self {
        Self { server, key }
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Answer {
        let request = match self.key {
            "" => request,
            key => request.bearer_auth(key),
        };
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer {
            status,
            headers: headers.keys().map(ToString::to_string).collect(),
            text: response.text().await.unwrap(),
        }
    }

    pub(super) async fn ask(&self, method: Method, path: &str, body: &Value) -> Answer {
        let url = format!("{}{path}", self.server.url);
        let request = self.server.http.request(method, url);
        self.send(request.body(body.to_string())).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, &NOTHING).await.ok()
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Value {
        self.ask(Method::POST, path, body).await.ok()
    }

    pub(super) async fn form(&self, path: &str, fields: &[(&str, Option<&str>, &[u8])]) -> Answer {
        self.send(self.server.form(path, fields)).await
    }

    /// Uploads the requests of a job.
    pub(super) async fn file(&self, lines: &str) -> Value {
        let fields = [
            ("purpose", None, &b"batch"[..]),
            ("file", Some("in.jsonl"), lines.as_bytes()),
        ];
        self.form("/v1/files", &fields).await.ok()
    }

    pub(super) async fn batch(&self, file: &str, endpoint: &str) -> Value {
        let body = json!({"input_file_id": file, "endpoint": endpoint, "completion_window": "24h"});
        self.post("/v1/batches", &body).await
    }

    /// Waits until the answer to a path passes the test.
    pub(super) async fn until(&self, path: &str, test: impl Fn(&Value) -> bool) -> Value {
        let reached = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                let found = self.get(path).await;
                if test(&found) {
                    return found;
                }
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        reached.unwrap_or_else(|_| panic!("not in time\n{}", self.server.log.text()))
    }

    pub(super) async fn ended(&self, batch: &Value) -> Value {
        let path = format!("/v1/batches/{}", text(&batch["id"]));
        let is_over = |batch: &Value| !batch["request_counts"].is_null() && is_over(batch);
        self.until(&path, is_over).await
    }

    /// The ids in a list.
    pub(super) async fn listed(&self, path: &str) -> BTreeSet<String> {
        let list = self.get(path).await;
        let list = list["data"].as_array().unwrap().iter();
        list.map(|one| text(&one["id"])).collect()
    }
}

pub(super) fn is_over(batch: &Value) -> bool {
    let status = batch["status"].as_str();
    ["completed", "failed", "expired", "cancelled"]
        .map(Some)
        .contains(&status)
}

pub(super) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value}"))
        .to_owned()
}

pub(super) fn line(id: &str, url: &str, body: &Value) -> String {
    format!(
        "{}\n",
        json!({"custom_id": id, "method": "POST", "url": url, "body": body})
    )
}

pub(super) fn chat_line(id: &str, content: &str) -> String {
    line(id, "/v1/chat/completions", &question(content))
}
