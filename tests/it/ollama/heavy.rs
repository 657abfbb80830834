//! Requests that are cheap to send and expensive to serve: they delay themselves, not others.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::TestServer;

/// Sixty times a hundred choices, which is more than the channel to a runner holds.
#[tokio::test]
async fn a_burst_of_choices_is_served_or_refused_and_kills_nobody() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let body = |n: u32| json!({"model": "tiny", "prompt": "x", "max_tokens": 1, "n": n});
    server.post("/v1/completions", &body(1)).await.ok();
    let runner = server.runners();
    let many = body(100);
    let answers = join_all((0..60).map(|_| server.post("/v1/completions", &many))).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    let busy = answers.iter().filter(|answer| answer.status == 503).count();
    assert!(
        served > 0 && served + busy == 60,
        "{served} served, {busy} refused"
    );
    server.post("/v1/completions", &body(1)).await.ok();
    assert_eq!(server.runners(), runner, "{}", server.log.text());
}

/// Each with its route, the request, and the statuses that it may get.
fn heavy() -> Vec<(&'static str, Value, &'static [u16])> {
    let few = json!({"num_predict": 2, "num_ctx": 512});
    let messages = json!([{"role": "user", "content": "hi"}]);
    let properties: serde_json::Map<String, Value> = (0..4000)
        .map(|number| (format!("p{number}"), json!({"type": "string"})))
        .collect();
    let words: Vec<String> = (0..60_000)
        .map(|number| format!("value {number}"))
        .collect();
    let biases: serde_json::Map<String, Value> = (0..49_000)
        .map(|token| (token.to_string(), json!(1)))
        .collect();
    let generate = |more: Value| {
        let mut body = json!({"prompt": "x", "options": few, "stream": false});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    vec![
        (
            "/api/generate",
            generate(json!({"context": vec![1; 200_000]})),
            &[200],
        ),
        (
            "/api/generate",
            generate(json!({"prompt": "<|im_start|>".repeat(100_000), "raw": true})),
            &[200],
        ),
        (
            "/api/generate",
            generate(json!({"format": {"type": "object", "properties": properties}})),
            &[200, 400],
        ),
        // More than the constraint parser keeps at once.
        (
            "/api/generate",
            generate(json!({"format": {"enum": words}})),
            &[200, 400],
        ),
        (
            "/v1/chat/completions",
            json!({"messages": messages, "max_tokens": 2, "logit_bias": biases}),
            &[200],
        ),
        (
            "/api/generate",
            generate(
                json!({"options": {"num_thread": 1_000_000, "num_predict": 2, "num_ctx": 512}}),
            ),
            &[200],
        ),
    ]
}

#[cfg(feature = "llama")]
#[tokio::test]
async fn a_stream_goes_on_beside_requests_that_are_heavy_to_prepare() {
    let Some(server) = super::real::with_model("smollm2-135m").await else {
        return;
    };
    let endless = json!({"model": "smollm2-135m", "prompt": "Once upon a time",
                         "options": {"num_predict": 100_000, "num_ctx": 512, "ignore_eos": true}});
    let mut stream = server.stream("/api/generate", &endless).await;
    stream.next().await.unwrap();
    let runner = server.runners();
    for (path, mut body, statuses) in heavy() {
        body["model"] = "smollm2-135m".into();
        let mut answer = std::pin::pin!(server.post(path, &body));
        let mut n_pieces = 0;
        let answer = loop {
            tokio::select! {
                biased;
                piece = stream.next() => {
                    assert_eq!(piece.unwrap().get("error"), None);
                    n_pieces += 1;
                }
                answer = &mut answer => break answer,
            }
        };
        assert!(
            statuses.contains(&answer.status),
            "{path}: {} {}",
            answer.status,
            answer.text
        );
        assert!(n_pieces > 1, "{path}: the stream stood still");
    }
    assert_eq!(server.runners(), runner, "{}", server.log.text());
}
