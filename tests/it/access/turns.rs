//! The order of requests: keys take turns, deadlines end requests, and waiting clients can learn their position.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::{create, header, question, send, with_keys_and};
use crate::support::TestServer;

/// Waits until so many requests wait for a slot.
pub(super) async fn waiting(server: &TestServer, at_least: f64) {
    let name = "drover_sequences_waiting{model=\"tiny:latest\"} ";
    let number = async || {
        let metrics = server.get("/metrics").await.ok().text;
        let mut lines = metrics.lines();
        lines.find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok())
    };
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while number().await.is_none_or(|number| number < at_least) {
            tick.tick().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    waited.expect("requests that wait");
}

/// Sends a chat with more headers.
async fn ask(server: &TestServer, path: &str, body: &Value, headers: &[(&str, &str)]) -> Response {
    let mut request = server.http.post(format!("{}{path}", server.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.to_string()).send().await.unwrap()
}

/// Reads a stream until it contains these words.
async fn until(response: &mut Response, words: &str) -> String {
    let mut text = String::new();
    while !text.contains(words) {
        let chunk = tokio::time::timeout(Duration::from_secs(60), response.chunk()).await;
        match chunk.expect("something").unwrap() {
            Some(chunk) => text.push_str(&String::from_utf8_lossy(&chunk)),
            None => panic!("{text}"),
        }
    }
    text
}

async fn one_at_a_time() -> TestServer {
    let server = TestServer::builder()
        .env("OLLAMA_NUM_PARALLEL", "1")
        .start()
        .await;
    server.fake_model("tiny").await;
    server
}

fn streamed(text: &str) -> Value {
    let mut body = question(text);
    body["stream"] = true.into();
    body
}

#[tokio::test]
async fn a_key_with_one_request_waits_for_a_turn_of_one_with_two_hundred() {
    const SLOTS: usize = 2;
    let variables = [
        ("OLLAMA_NUM_PARALLEL", "2"),
        // So that the test can look at the queue.
        ("DROVER_KEYS_ANONYMOUS", "metrics"),
    ];
    let (server, boss) = with_keys_and(&variables).await;
    let [greedy, modest] = [
        create(&boss, &["greedy"]).await,
        create(&boss, &["modest"]).await,
    ];
    let chat = "/v1/chat/completions";
    let body = question("[[slow 4]] [[repeat 12]]");
    let done = AtomicUsize::new(0);
    let crowd = join_all((0..200).map(|_| async {
        let answer = send(&server, &greedy, Method::POST, chat, &body).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
        done.fetch_add(1, Ordering::Relaxed);
    }));
    let one = async {
        waiting(&server, 150.0).await;
        let before = done.load(Ordering::Relaxed);
        let started = Instant::now();
        let answer = send(&server, &modest, Method::POST, chat, &body).await;
        assert_eq!(answer.status(), 200);
        let others = done.load(Ordering::Relaxed) - before;
        println!("waited for {others} answers, {:?}", started.elapsed());
        // The running requests, one turn, and those that were served in between.
        assert!(others <= 3 * SLOTS + 1, "{others}");
    };
    tokio::join!(crowd, one);
}

#[tokio::test]
async fn who_fills_the_queue_leaves_room_for_others() {
    let variables = [
        ("OLLAMA_NUM_PARALLEL", "1"),
        ("OLLAMA_MAX_QUEUE", "16"),
        ("DROVER_KEYS_ANONYMOUS", "metrics"),
    ];
    let (server, boss) = with_keys_and(&variables).await;
    let [greedy, modest] = [
        create(&boss, &["greedy"]).await,
        create(&boss, &["modest"]).await,
    ];
    let chat = "/v1/chat/completions";
    let first = send(&server, &modest, Method::POST, chat, &question("hello")).await;
    assert_eq!(first.status(), 200);
    let body = question("[[slow 20]] [[repeat 60]]");
    let crowd = join_all((0..40).map(|_| send(&server, &greedy, Method::POST, chat, &body)));
    let one = async {
        waiting(&server, 16.0).await;
        let full = send(&server, &greedy, Method::POST, chat, &body).await;
        assert_eq!(full.status(), 503);
        let answer = send(&server, &modest, Method::POST, chat, &question("hello")).await;
        assert_eq!(answer.status(), 200);
    };
    tokio::select! {
        _ = crowd => panic!("the crowd was served first"),
        () = one => {}
    }
}

#[tokio::test]
async fn a_request_ends_at_its_deadline_wherever_it_is() {
    let server = one_at_a_time().await;
    let mut long = ask(
        &server,
        "/api/chat",
        &streamed("[[slow 20]] [[repeat 200000]]"),
        &[],
    )
    .await;
    until(&mut long, "content").await;
    let timeout = [("x-request-timeout", "1")];
    // Before any output: a status.
    for (path, body) in [
        ("/v1/chat/completions", question("hello")),
        ("/v1/chat/completions", streamed("hello")),
        ("/api/chat", question("hello")),
    ] {
        let started = Instant::now();
        let answer = ask(&server, path, &body, &timeout).await;
        assert_eq!(answer.status(), 504, "{path}");
        assert!(started.elapsed() >= Duration::from_secs(1));
        let error: Value = answer.json().await.unwrap();
        let error = &error["error"];
        assert!(
            error.is_string() || error["code"] == "deadline_exceeded",
            "{error}"
        );
    }
    let mut body = question("hello");
    body["options"] = json!({"timeout": "1s"});
    assert_eq!(ask(&server, "/api/chat", &body, &[]).await.status(), 504);
    drop(long);
    // In the middle of the output: an error at the end of the stream.
    let answer = ask(
        &server,
        "/api/chat",
        &streamed("[[slow 20]] [[repeat 200000]]"),
        &timeout,
    )
    .await;
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["error"], "the time that the request allows is over");
    // The slot is free.
    let quick = ask(
        &server,
        "/api/chat",
        &question("hello"),
        &[("x-request-timeout", "1m")],
    )
    .await;
    assert_eq!(quick.status(), 200);
    for wrong in ["soon", "-1", "0"] {
        let answer = ask(
            &server,
            "/api/chat",
            &question("hello"),
            &[("x-request-timeout", wrong)],
        )
        .await;
        assert_eq!(answer.status(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn who_waits_hears_where_they_stand() {
    let server = one_at_a_time().await;
    let quick = ask(&server, "/api/chat", &question("hello"), &[]).await;
    assert_eq!(header(&quick, "x-queue-state"), "");
    let mut long = ask(
        &server,
        "/api/chat",
        &streamed("[[slow 20]] [[repeat 200000]]"),
        &[],
    )
    .await;
    assert_eq!(header(&long, "x-queue-state"), "");
    until(&mut long, "content").await;
    let progress = [("x-queue-progress", "true")];
    let chat = "/v1/chat/completions";
    let body = streamed("first");
    let first = ask(&server, chat, &body, &progress);
    let second = async {
        waiting(&server, 1.0).await;
        ask(&server, chat, &streamed("second"), &progress).await
    };
    let third = async {
        waiting(&server, 2.0).await;
        ask(&server, "/api/chat", &streamed("third"), &progress).await
    };
    let (mut first, mut second, third) = tokio::join!(first, second, third);
    assert_eq!(header(&first, "x-queue-state"), "waiting");
    assert_eq!(header(&first, "x-queue-position"), "0");
    assert_eq!(header(&second, "x-queue-position"), "1");
    let wait: u64 = header(&second, "x-queue-wait").parse().unwrap();
    assert!(wait >= 1);
    assert_eq!(header(&third, "x-queue-position"), "2");
    let comment = until(&mut second, "position=1").await;
    assert!(
        comment.starts_with(": queue state=waiting position=1 wait="),
        "{comment}"
    );
    drop(long);
    // Then the answer follows, and no more comments.
    let text = until(&mut first, "[DONE]").await;
    let (_, answer) = text.split_once("data: ").unwrap();
    assert!(!answer.contains(": queue"), "{text}");
    until(&mut second, "[DONE]").await;
    // Streams of JSON lines have no comments: clients parse each line.
    let third = third.text().await.unwrap();
    assert!(third.lines().all(|line| line.starts_with('{')), "{third}");
}
