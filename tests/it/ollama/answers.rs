//! `/api/generate` and `/api/chat`: whole and streamed answers say the same.

use serde_json::{Value, json};

use crate::support::TestServer;

const COUNTERS: [&str; 6] = [
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
];

#[tokio::test]
async fn streamed_and_whole_answers_agree() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let chat = json!({"messages": [{"role": "user", "content": "One two three."}]});
    let generate = json!({"prompt": "One two three."});
    for (path, body, place) in [
        ("/api/chat", chat, "/message/content"),
        ("/api/generate", generate, "/response"),
    ] {
        let text = |line: &Value| line.pointer(place).unwrap().as_str().unwrap().to_owned();
        let body = with(
            &body,
            &json!({"model": "tiny", "options": {"temperature": 0}}),
        );
        let lines = server.stream(path, &body).await.rest().await;
        let whole = server
            .post(path, &with(&body, &json!({"stream": false})))
            .await
            .ok()
            .json();

        let streamed: String = lines.iter().map(text).collect();
        assert_eq!(streamed, "One two three.", "{path}");
        assert_eq!(streamed, text(&whole), "{path}");
        let (last, others) = lines.split_last().unwrap();
        assert!(
            others.iter().all(|line| line["done"] == false),
            "{path}: {others:?}"
        );
        assert!(
            others.iter().all(|line| line.get("eval_count").is_none()),
            "{path}"
        );
        for end in [last, &whole] {
            assert_eq!(
                (&end["done"], &end["model"]),
                (&json!(true), &json!("tiny")),
                "{path}"
            );
            assert!(
                matches!(end["done_reason"].as_str(), Some("stop" | "length")),
                "{end}"
            );
            for counter in COUNTERS {
                assert!(
                    end[counter].as_u64().is_some_and(|count| count > 0),
                    "{counter}: {end}"
                );
            }
        }
        assert_eq!(
            last["prompt_eval_count"], whole["prompt_eval_count"],
            "{path}: cached or not"
        );
    }
}

#[tokio::test]
async fn limits_and_stop_texts_end_an_answer() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let body = |options: Value| {
        json!({"model": "tiny", "prompt": "abc def ghi", "raw": true,
                                       "stream": false, "options": options})
    };
    let whole = server
        .post("/api/generate", &body(json!({"temperature": 0})))
        .await
        .ok()
        .json();
    let text = whole["response"].as_str().unwrap();

    let one = body(json!({"temperature": 0, "num_predict": 1}));
    let one = server.post("/api/generate", &one).await.ok().json();
    assert_eq!(
        (&one["done_reason"], &one["eval_count"]),
        (&json!("length"), &json!(1))
    );

    let middle: String = text.chars().skip(3).take(2).collect();
    let stopped = body(json!({"temperature": 0, "stop": [middle]}));
    let stopped = server.post("/api/generate", &stopped).await.ok().json();
    assert_eq!(stopped["done_reason"], "stop");
    assert_eq!(stopped["response"], text[..text.find(&middle).unwrap()]);
}

#[tokio::test]
async fn embeddings_come_in_order_and_with_length_one() {
    let server = TestServer::start().await;
    let file = crate::support::models::embedder().build();
    server.create("vectors", file, json!({})).await.ok();
    let body = json!({"model": "vectors", "input": ["first", "second text", ""]});
    let answer = server.post("/api/embed", &body).await.ok().json();
    let vectors = answer["embeddings"].as_array().unwrap();
    assert_eq!(vectors.len(), 3, "{answer}");
    for vector in vectors {
        let values = vector
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value.as_f64().unwrap());
        let length = values.map(|value| value * value).sum::<f64>().sqrt();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    let alone = json!({"model": "vectors", "input": "second text"});
    let alone = server.post("/api/embed", &alone).await.ok().json();
    assert_eq!(alone["embeddings"][0], vectors[1]);
    assert!(
        answer["prompt_eval_count"]
            .as_u64()
            .is_some_and(|count| count > 16),
        "{answer}"
    );
}

/// The fields of both objects.
fn with(body: &Value, more: &Value) -> Value {
    let mut body = body.clone();
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}
