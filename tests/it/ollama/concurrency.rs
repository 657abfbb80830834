//! Many concurrent clients: they all make progress, and no client gets another one's answer.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn eight_chats_progress_together() {
    let server = TestServer::builder()
        .env("OLLAMA_NUM_PARALLEL", "8")
        .start()
        .await;
    server.fake_model("tiny").await;
    server
        .post("/api/generate", &json!({"model": "tiny"}))
        .await
        .ok();
    let chats = (0..8).map(|client| {
        let server = &server;
        async move {
            let content = format!("client {client} [[slow 5]] [[repeat 40]]");
            let body = json!({"model": "tiny", "messages": [{"role": "user", "content": content}]});
            let mut stream = server.stream("/api/chat", &body).await;
            let mut text = String::new();
            let mut first = None;
            while let Some(line) = stream.next().await {
                assert_eq!(line.get("error"), None, "{line}");
                let piece = line["message"]["content"].as_str().unwrap();
                if first.is_none() && !piece.is_empty() {
                    first = Some(Instant::now());
                }
                text.push_str(piece);
            }
            (first.expect("text"), Instant::now(), text)
        }
    });
    let answers = join_all(chats).await;
    let last_start = answers.iter().map(|(first, ..)| first).max().unwrap();
    let first_end = answers.iter().map(|(_, end, _)| end).min().unwrap();
    assert!(last_start < first_end, "some waited until others were done");
    assert_eq!(server.runners().len(), 1);
}

#[tokio::test]
async fn eight_at_once_get_what_each_gets_alone() {
    let server = TestServer::builder()
        .env("OLLAMA_NUM_PARALLEL", "8")
        .start()
        .await;
    server.fake_model("tiny").await;
    let ask = async |client: usize| {
        let prompt = format!("number {client} says {}", "x".repeat(client * 7));
        let body = json!({"model": "tiny", "prompt": prompt, "stream": false,
                          "options": {"temperature": 0}});
        let answer = server.post("/api/generate", &body).await.ok().json();
        answer["response"].as_str().unwrap().to_owned()
    };
    let together = join_all((0..8).map(&ask)).await;
    for (client, text) in together.iter().enumerate() {
        assert_eq!(&ask(client).await, text, "client {client}");
    }
}
