//! Bodies that try to fill the daemon's memory.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::TestServer;

const MIB: usize = 1 << 20;

/// So many bytes of a text, repeated between two others.
fn filled(begin: &str, unit: &str, n_bytes: usize, end: &str) -> String {
    format!("{begin}{}{end}", unit.repeat(n_bytes / unit.len()))
}

#[tokio::test]
async fn a_body_takes_no_more_memory_than_it_has_bytes() {
    let server = TestServer::start().await;
    let n_start = server.peak_bytes();
    let unused = filled(r#"{"model":"nobody","x":["#, "[],", 8 * MIB, "0]}");
    for (path, n_status) in [("/api/chat", 404), ("/v1/chat/completions", 400)] {
        let answer = server
            .request(Method::POST, path, unused.clone().into())
            .await;
        assert_eq!(answer.status, n_status, "{}", answer.text);
    }
    for (path, begin, unit, end) in [
        ("/api/chat", r#"{"messages":["#, "{},", "{}]}"),
        ("/api/chat", r#"{"tools":["#, "{},", "{}]}"),
        ("/api/chat", r#"{"format":["#, "[],", "[]]}"),
        ("/api/embed", r#"{"input":["#, "\"\",", "\"\"]}"),
        (
            "/v1/chat/completions",
            r#"{"messages":[{"content":["#,
            "{},",
            "{}]}]}",
        ),
        ("/api/show", r#"{"x":["#, "[],", "[]]}"),
    ] {
        let body = filled(begin, unit, 8 * MIB, end).into();
        let answer = server.request(Method::POST, path, body).await;
        assert_eq!(answer.status, 413, "{path} {begin}: {}", answer.text);
    }
    // At 30 bytes per element it would be 240 MiB.
    let n_more = server.peak_bytes() - n_start;
    assert!(n_more < 160 * MIB as u64, "{n_more} bytes more");
}

#[tokio::test]
async fn bodies_that_do_not_end_leave_room_for_others() {
    let server = TestServer::builder()
        .env("DROVER_BODY_MEMORY", "32MiB")
        .start()
        .await;
    server.fake_model("tiny").await;
    let n_start = server.peak_bytes();
    let mut stalled = Vec::new();
    let piece = vec![b' '; MIB];
    for _ in 0..4 {
        let mut client = TcpStream::connect(server.address()).await.unwrap();
        let head =
            "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000000\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..16 {
            // Until the daemon accepts no more, or disconnects.
            let sent = tokio::time::timeout(Duration::from_secs(1), client.write_all(&piece));
            if !matches!(sent.await, Ok(Ok(()))) {
                break;
            }
        }
        stalled.push(client);
    }
    let n_more = server.peak_bytes() - n_start;
    assert!(n_more < 64 * MIB as u64, "{n_more} bytes more");
    for n_bytes in [10, MIB] {
        let text = "a".repeat(n_bytes);
        let message = json!({"role": "user", "content": "hello"});
        let body = json!({"model": "tiny", "messages": [message], "x": text, "stream": false});
        server.post("/api/chat", &body).await.ok();
    }
}
