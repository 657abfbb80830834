//! Storms of clients. They take minutes and thousands of files:
//! `cargo test --features fake --test it -- --ignored storm`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::question;
use super::turns::waiting;
use crate::support::{Socket, TestServer};

/// The most memory that the daemon may take.
const MOST_BYTES: u64 = 300 << 20;

fn request(text: &str) -> String {
    post("/api/chat", &question(text))
}

fn post(path: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a request and reads its answer; an error says how the connection ended.
async fn ask(address: &str, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // A refusal may come before everything is sent.
    let sent = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer.is_empty() {
        sent?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Sends so many concurrent requests to one model; returns how many got each status.
async fn storm(server: &TestServer, n: usize) -> BTreeMap<String, usize> {
    let request = request("[[slow 1]] hello");
    let started = Instant::now();
    let answers = join_all((0..n).map(|_| ask(server.address(), &request))).await;
    let time = started.elapsed();
    let mut counts = BTreeMap::new();
    for answer in answers {
        let kind = match answer {
            Ok(answer)
                if answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"done\":true") =>
            {
                "200"
            }
            Ok(answer) if answer.to_lowercase().contains("\r\nretry-after: ") => {
                match answer.get(9..12) {
                    Some("429") => "429",
                    Some("503") => "503",
                    _ => "another status",
                }
            }
            Ok(answer) => panic!("{answer:?}"),
            Err(error) => panic!("lost: {error}"),
        };
        *counts.entry(kind.to_owned()).or_default() += 1;
    }
    let peak = server.peak_bytes() >> 20;
    println!("{n} at once: {counts:?} in {time:?}, the daemon held {peak} MiB");
    counts
}

#[tokio::test]
#[ignore = "ten thousand connections"]
async fn storm_of_ten_thousand_requests_loses_none() {
    // With the default limit of connections, and with one that admits all of them.
    for most in ["0", "15000"] {
        let server = TestServer::builder()
            .env("DROVER_MAX_CONNECTIONS", most)
            .env("OLLAMA_DEBUG", "0")
            .start()
            .await;
        server.fake_model("tiny").await;
        let counts = storm(&server, 10_000).await;
        assert!(counts["200"] >= 512, "{counts:?}");
        assert_eq!(counts.values().sum::<usize>(), 10_000, "{counts:?}");
        assert!(server.peak_bytes() < MOST_BYTES, "{}", server.peak_bytes());
        // Afterwards the daemon works as before.
        let again = storm(&server, 10).await;
        assert_eq!(again["200"], 10);
    }
}

/// The engine does not wait for clients that do not read: their answers are generated as fast as those of clients that
/// read, up to a bound, and their slots are free after that, or when the timeout has passed. So such a client takes no
/// more than another, and another client waits for a turn, not for the whole crowd. (Requests with the crowd's own
/// origin and name are behind it: nothing distinguishes them.)
#[tokio::test]
#[ignore = "two thousand connections"]
async fn storm_of_clients_that_never_read_takes_nothing_from_others() {
    const N: usize = 2000;
    let server = TestServer::builder()
        .env("DROVER_CLIENT_TIMEOUT", "5s")
        .env("DROVER_MAX_CONNECTIONS", "4000")
        .env("OLLAMA_MAX_QUEUE", "4000")
        .env("OLLAMA_NUM_PARALLEL", "8")
        .env("OLLAMA_DEBUG", "0")
        .start()
        .await;
    server.fake_model("tiny").await;
    // Without a template: the time to render prompts is not measured here.
    let body = json!({"model": "tiny", "prompt": "[[repeat 5000]]", "raw": true});
    let long = post("/api/generate", &body);
    let sockets: Vec<Socket> =
        join_all((0..N).map(|_| server.narrow_socket(long.as_bytes()))).await;
    waiting(&server, 100.0).await;
    let started = Instant::now();
    let asked = server.http.post(format!("{}/api/chat", server.url));
    let asked = asked.header("x-openwebui-user-id", "jo");
    let asked = asked.body(question("hello").to_string()).send();
    let answer = tokio::time::timeout(Duration::from_secs(60), asked).await;
    assert_eq!(answer.expect("an answer").unwrap().status(), 200);
    let peak = server.peak_bytes() >> 20;
    println!(
        "{N} that never read: another waited {:?}, the daemon held {peak} MiB",
        started.elapsed()
    );
    assert!(server.peak_bytes() < MOST_BYTES, "{peak} MiB");
    drop(sockets);
}
