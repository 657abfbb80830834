//! The limits of keys.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{create, header, question, send, with_keys, with_keys_and};

async fn used(server: &crate::support::TestServer, key: &str, text: &str) -> Option<u64> {
    let response = send(
        server,
        key,
        Method::POST,
        "/v1/chat/completions",
        &question(text),
    )
    .await;
    match response.status().as_u16() {
        200 => {
            let answer: Value = response.json().await.unwrap();
            Some(answer["usage"]["total_tokens"].as_u64().unwrap())
        }
        429 => None,
        other => panic!("{other}: {}", response.text().await.unwrap()),
    }
}

#[tokio::test]
async fn a_limit_of_tokens_holds_to_the_token() {
    let (server, boss) = with_keys().await;
    let key = create(&boss, &["one", "--limit", "tokens=300"]).await;
    let chat = "/v1/chat/completions";
    let first = send(&server, &key, Method::POST, chat, &question("hello")).await;
    assert_eq!(header(&first, "x-ratelimit-limit-tokens"), "300");
    let left: u64 = header(&first, "x-ratelimit-remaining-tokens")
        .parse()
        .unwrap();
    let answer: Value = first.json().await.unwrap();
    assert_eq!(
        answer["usage"]["total_tokens"].as_u64().unwrap(),
        300 - left
    );
    // This answer would exceed what is left, and ends with the last token.
    let second = send(
        &server,
        &key,
        Method::POST,
        chat,
        &question("[[repeat 2000]]"),
    )
    .await;
    assert_eq!(header(&second, "x-ratelimit-remaining-tokens"), "0");
    let answer: Value = second.json().await.unwrap();
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["total_tokens"].as_u64().unwrap(), left);
    let third = send(&server, &key, Method::POST, chat, &question("hello")).await;
    assert_eq!(third.status(), 429);
    let wait: u64 = header(&third, "retry-after").parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    assert!(header(&third, "x-ratelimit-reset-tokens").ends_with('s'));
    let error: Value = third.json().await.unwrap();
    assert_eq!(error["error"]["code"], "rate_limit_exceeded");
    // Each protocol has its own format of the refusal; requests that cost nothing still work.
    let native = send(&server, &key, Method::POST, "/api/chat", &question("hello")).await;
    assert_eq!(
        (
            native.status().as_u16(),
            header(&native, "retry-after").is_empty()
        ),
        (429, false)
    );
    assert!(native.json::<Value>().await.unwrap()["error"].is_string());
    let body =
        json!({"model": "tiny", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]});
    let anthropic = send(&server, &key, Method::POST, "/v1/messages", &body).await;
    assert_eq!(
        header(&anthropic, "anthropic-ratelimit-tokens-remaining"),
        "0"
    );
    assert!(header(&anthropic, "anthropic-ratelimit-tokens-reset").ends_with('Z'));
    assert_eq!(
        anthropic.json::<Value>().await.unwrap()["error"]["type"],
        "rate_limit_error"
    );
    let models = send(&server, &key, Method::GET, "/v1/models", &Value::Null).await;
    assert_eq!(models.status(), 200);
}

#[tokio::test]
async fn many_at_once_get_no_token_more() {
    let (server, boss) = with_keys_and(&[("OLLAMA_NUM_PARALLEL", "8")]).await;
    let key = create(&boss, &["one", "--limit", "tokens=1000"]).await;
    let text = "[[slow 2]] [[repeat 100]]";
    let answers = join_all((0..24).map(|_| used(&server, &key, text))).await;
    let total: u64 = answers.iter().flatten().sum();
    assert_eq!(total, 1000, "{answers:?}");
    assert!(answers.contains(&None));
    // Other keys do not notice.
    let other = create(&boss, &["two"]).await;
    assert!(used(&server, &other, "hello").await.is_some());
}

#[tokio::test]
async fn a_prompt_that_does_not_fit_costs_nothing() {
    let (server, boss) = with_keys().await;
    let key = create(&boss, &["one", "--limit", "tokens=200"]).await;
    assert_eq!(used(&server, &key, &"x".repeat(500)).await, None);
    assert!(used(&server, &key, "hello").await.is_some());
}

#[tokio::test]
async fn requests_at_once_wait_in_their_line_or_are_refused() {
    let (server, boss) = with_keys_and(&[("OLLAMA_NUM_PARALLEL", "8")]).await;
    let key = create(&boss, &["one", "--limit", "requests=2,queue=3"]).await;
    let chat = "/v1/chat/completions";
    let text = question("[[slow 20]] [[repeat 60]]");
    let answers = join_all((0..9).map(|_| send(&server, &key, Method::POST, chat, &text))).await;
    let statuses: Vec<u16> = answers
        .iter()
        .map(|answer| answer.status().as_u16())
        .collect();
    let count = |status| statuses.iter().filter(|&&got| got == status).count();
    assert_eq!((count(200), count(429)), (5, 4), "{statuses:?}");
    let refused = answers
        .iter()
        .find(|answer| answer.status() == 429)
        .unwrap();
    assert_eq!(header(refused, "retry-after"), "1");
    assert_eq!(header(refused, "x-ratelimit-limit-requests"), "2");
    assert_eq!(header(refused, "x-ratelimit-remaining-requests"), "0");
    drop(answers);
    // When a request leaves, its place is free again.
    let again = send(&server, &key, Method::POST, chat, &question("hello")).await;
    assert_eq!(again.status(), 200);
}

#[tokio::test]
async fn texts_to_embed_are_counted_when_they_are_known() {
    let (server, boss) = with_keys().await;
    let key = create(&boss, &["one", "--limit", "tokens=50"]).await;
    let body = json!({"model": "tiny", "input": "x".repeat(80)});
    let first = send(&server, &key, Method::POST, "/v1/embeddings", &body).await;
    assert_eq!(header(&first, "x-ratelimit-remaining-tokens"), "0");
    let second = send(&server, &key, Method::POST, "/v1/embeddings", &body).await;
    assert_eq!(second.status(), 429);
}
