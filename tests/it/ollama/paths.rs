//! Paths that are not in their shortest form.

use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn a_slash_too_many_leads_to_the_right_path() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .build()
        .unwrap();
    let url = format!("http://{}", server.address());
    for (method, path, target) in [
        (Method::GET, "//api/tags", "/api/tags"),
        (Method::HEAD, "//api/tags?a=b", "/api/tags?a=b"),
        (
            Method::POST,
            "/v1//chat/completions",
            "/v1/chat/completions",
        ),
        (Method::GET, "/v1/models//tiny", "/v1/models/tiny"),
        (Method::GET, "//nowhere//at/all", "/nowhere/at/all"),
        (Method::GET, "//example.org/x", "/example.org/x"),
    ] {
        let answer = client.request(method, format!("{url}{path}"));
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 307, "{path}");
        assert_eq!(answer.headers()["location"], target, "{path}");
    }
    // Clients send the body again.
    let body = json!({"model": "tiny", "messages": [{"role": "user", "content": "hi"}]});
    let answer = server.post("//v1//chat/completions", &body).await.ok();
    let answer = answer.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "hi");
    // Clients that normalise URLs never send dots to the daemon; others do.
    let answer = dotted(server.address(), "/api/./tags/../version").await;
    assert!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
    assert!(
        answer.contains("\r\nlocation: /api/version\r\n"),
        "{answer}"
    );
}

/// The head of the answer to an unmodified path.
async fn dotted(address: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
