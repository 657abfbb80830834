//! Access control and limits.

mod audit;
mod keys;
mod limits;
mod marathon;
mod owners;
mod storm;
mod tls;
mod turns;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Drover, TestServer};

/// A daemon that requires keys even from this machine, and its administrator's command line.
async fn with_keys() -> (TestServer, Drover) {
    with_keys_and(&[]).await
}

async fn with_keys_and(variables: &[(&str, &str)]) -> (TestServer, Drover) {
    let mut builder = TestServer::builder().env("DROVER_KEYS_LOOPBACK", "required");
    for (name, value) in variables {
        builder = builder.env(name, value);
    }
    let server = builder.start().await;
    server.fake_model("tiny").await;
    let drover = Drover::of(&server);
    let admin = drover
        .run(&["key", "create", "boss", "--scope", "admin"])
        .await
        .ok();
    let drover = Drover::of(&server).env("OLLAMA_API_KEY", admin.trim());
    (server, drover)
}

/// Makes a key; returns it, the last word of the output.
async fn create(drover: &Drover, args: &[&str]) -> String {
    let args: Vec<&str> = ["key", "create"].iter().chain(args).copied().collect();
    let output = drover.run(&args).await.ok();
    output.split_whitespace().last().unwrap().to_owned()
}

/// Sends a request with a key.
async fn send(
    server: &TestServer,
    key: &str,
    method: Method,
    path: &str,
    body: &Value,
) -> reqwest::Response {
    let request = server
        .http
        .request(method, format!("{}{path}", server.url))
        .bearer_auth(key)
        .body(body.to_string());
    request.send().await.unwrap()
}

/// Asks the fake model for a text of so many tokens.
fn question(text: &str) -> Value {
    json!({"model": "tiny", "messages": [{"role": "user", "content": text}], "stream": false})
}

fn header(response: &reqwest::Response, name: &str) -> String {
    let value = response.headers().get(name);
    value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}
