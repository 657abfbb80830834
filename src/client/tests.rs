//! The client against a socket with prepared answers.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::api::ollama::{GenerateRequest, ShowRequest};

/// Answers one request with `answer`; returns the request and `call`'s result.
async fn exchange<T>(answer: &str, call: impl AsyncFnOnce(Client) -> T) -> (String, T) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let client = Client::new(&HostSpec::parse(&address)).unwrap();
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !is_complete(&request) {
            assert_ne!(socket.read_buf(&mut request).await.unwrap(), 0);
        }
        socket.write_all(answer.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        String::from_utf8(request).unwrap()
    };
    tokio::join!(server, call(client))
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.parse().unwrap())
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_stream_ends_with_its_error_line() {
    let answer = format!("{STREAM}{{\"response\":\"a\"}}\n{{\"error\":\"boom\"}}\n");
    let (request, ()) = exchange(&answer, async |client| {
        let request = GenerateRequest {
            model: "m".to_owned(),
            ..GenerateRequest::default()
        };
        let mut lines = client.generate(&request).await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap().response, "a");
        assert_eq!(lines.next().await.unwrap_err().to_string(), "boom");
    })
    .await;
    assert!(
        request.starts_with("POST /api/generate HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("user-agent: drover/"), "{request}");
}

#[tokio::test]
async fn a_refusal_is_told_with_or_without_its_status() {
    let body = r#"{"error":"model 'x' not found"}"#;
    let answer = format!(
        "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let (_, error) = exchange(&answer, async |client| {
        client.show(&ShowRequest::default()).await.unwrap_err()
    })
    .await;
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "model 'x' not found");
    let (_, error) = exchange(&answer, async |client| {
        client.pull("x", false).await.unwrap_err()
    })
    .await;
    assert_eq!(error.to_string(), "404 Not Found: model 'x' not found");
}

#[tokio::test]
async fn nobody_listening_has_its_own_text() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let client = Client::new(&HostSpec::parse(&address)).unwrap();
    let error = client.heartbeat().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not connect to ollama server, run 'ollama serve' to start it"
    );
}

#[tokio::test]
async fn a_path_prefix_is_kept_and_pull_names_the_model_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("{}/prefix/", listener.local_addr().unwrap());
    assert!(HostSpec::parse(&address).base_url().ends_with("/prefix"));
    let answer = format!("{STREAM}{{\"status\":\"success\"}}\n");
    let (request, last) = exchange(&answer, async |client| {
        let mut lines = client.pull("m", true).await.unwrap();
        let first = lines.next().await.unwrap().unwrap();
        assert!(lines.next().await.unwrap().is_none());
        first
    })
    .await;
    assert_eq!(last.status, "success");
    assert!(
        request.ends_with(r#"{"model":"m","name":"m","insecure":true}"#),
        "{request}"
    );
}
