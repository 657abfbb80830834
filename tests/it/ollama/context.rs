//! What happens at the end of a context: `num_predict`, `num_keep`, `shift`.

use serde_json::{Value, json};

use super::metrics::value;
#[cfg(feature = "llama")]
use super::real::with_model;
use crate::support::{TestServer, models};

const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

fn body(prompt: &str, options: &Value, shift: bool) -> Value {
    let mut all = json!({"num_ctx": 96, "temperature": 0});
    let given = options.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(given);
    json!({"model": "tiny", "prompt": prompt, "raw": true, "stream": false, "shift": shift,
           "options": all})
}

async fn ask(server: &TestServer, body: &Value) -> Value {
    server.post("/api/generate", body).await.ok().json()
}

async fn tiny() -> TestServer {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    server
}

#[tokio::test]
async fn an_answer_without_limit_goes_on_for_ten_contexts() {
    let server = tiny().await;
    for n_predict in [-1, -2, 100_000] {
        let options = json!({"num_predict": n_predict});
        let endless = format!("{ALPHABET} [[repeat 100]]");
        let answer = ask(&server, &body(&endless, &options, true)).await;
        assert_eq!(answer["eval_count"], 960, "{n_predict}");
        assert_eq!(answer["done_reason"], "length", "{n_predict}");
        let whole = [ALPHABET; 100].join(" ");
        assert_eq!(answer["response"], whole[..960], "{n_predict}");

        let answer = ask(&server, &body("[[say all of it]]", &options, true)).await;
        assert_eq!(answer["response"], "all of it");
        assert_eq!(answer["done_reason"], "stop");
    }
}

#[tokio::test]
async fn without_a_shift_an_answer_ends_with_its_context() {
    let server = tiny().await;
    let windowed = models::fake().value("drover-fake.attention.sliding_window", 32);
    server
        .create("windowed", windowed.build(), json!({}))
        .await
        .ok();
    let endless = format!("{ALPHABET} [[repeat 100]]");
    // On request, or because a window cannot be shifted.
    for (model, shift) in [("tiny", false), ("windowed", true)] {
        let mut body = body(&endless, &json!({"num_predict": -1}), shift);
        body["model"] = model.into();
        let answer = ask(&server, &body).await;
        let count = |name: &str| answer[name].as_u64().unwrap();
        assert_eq!(
            count("prompt_eval_count") + count("eval_count"),
            96,
            "{model}"
        );
        assert_eq!(answer["done_reason"], "length", "{model}");
    }
}

#[tokio::test]
async fn a_shift_keeps_the_first_tokens() {
    for (num_keep, n_kept) in [
        (20, 20),
        (30, 30),
        (-1, ALPHABET.len() + " [[repeat 9]]".len()),
    ] {
        let server = tiny().await;
        let options = json!({"num_keep": num_keep, "num_predict": 150});
        let prompt = format!("{ALPHABET} [[repeat 9]]");
        let answer = ask(&server, &body(&prompt, &options, true)).await;
        assert_eq!(answer["eval_count"], 150, "{answer}");
        // The same prompt finds in the cache what the shift has left, including BOS; its last token is always computed.
        ask(&server, &body(&prompt, &json!({"num_predict": 1}), true)).await;
        let cached = r#"drover_prompt_tokens_cached_total{model="tiny:latest"}"#;
        let expected = format!("{}", (n_kept + 1).min(prompt.len()));
        assert_eq!(
            value(&server, cached).await.to_string(),
            expected,
            "{num_keep}"
        );
    }
}

#[tokio::test]
async fn a_prompt_that_is_cut_keeps_its_first_tokens() {
    let server = tiny().await;
    let prompt = format!("{ALPHABET}{}", "-".repeat(200));
    for num_keep in [0, 4, 30] {
        let options = json!({"num_keep": num_keep, "num_predict": 40});
        let answer = ask(&server, &body(&prompt, &options, true)).await;
        let expected = format!("{}-", &ALPHABET[..num_keep]);
        let said = answer["response"].as_str().unwrap();
        assert!(said.starts_with(&expected), "{num_keep}: {said}");
    }
}

#[cfg(feature = "llama")]
#[tokio::test]
async fn real_models_shift_or_end() {
    for (model, can_shift) in [("smollm2-135m", true), ("gemma3-270m", false)] {
        let Some(server) = with_model(model).await else {
            return;
        };
        let prompt = "Once upon a time there was a little fox who lived in a";
        // The tokens that would end the answer are forbidden.
        let options = json!({"num_predict": 150, "num_keep": 8,
                             "logit_bias": {"0": false, "1": false, "2": false, "106": false}});
        let mut body = body(prompt, &options, true);
        body["model"] = model.into();
        let answer = ask(&server, &body).await;
        let count = |name: &str| answer[name].as_u64().unwrap();
        eprintln!("{model}: {}", answer["response"]);
        if can_shift {
            assert_eq!(count("eval_count"), 150, "{answer}");
        } else {
            assert_eq!(count("prompt_eval_count") + count("eval_count"), 96);
        }
        assert_eq!(answer["done_reason"], "length");
        assert!(!answer["response"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_prompt_that_was_cut_says_so() {
    const HEADER: &str = "x-drover-prompt-truncated";
    let server = tiny().await;
    let long = "one two three four five ".repeat(40);
    let messages = |text: &str| json!([{"role": "user", "content": text}]);
    for (text, is_cut) in [("short", false), (long.as_str(), true)] {
        for streams in [false, true] {
            let options = json!({"num_ctx": 96, "num_predict": 4});
            for (path, body) in [
                ("/api/generate", json!({"prompt": text, "options": options})),
                (
                    "/api/chat",
                    json!({"messages": messages(text), "options": options}),
                ),
            ] {
                let mut body = body;
                body["model"] = "tiny".into();
                body["stream"] = streams.into();
                let answer = server.post(path, &body).await.ok();
                assert_eq!(
                    answer.headers.contains_key(HEADER),
                    is_cut,
                    "{path} {streams}"
                );
                let last = answer.lines().pop().unwrap();
                let told = last.get("prompt_truncated") == Some(&json!(true));
                assert_eq!(told, is_cut, "{path} {last}");
            }
        }
    }
    let small =
        json!({"model": "small", "from": "tiny", "parameters": {"num_ctx": 96}, "stream": false});
    server.post("/api/create", &small).await.ok();
    for streams in [false, true] {
        for (path, body) in [
            ("/v1/completions", json!({"prompt": long})),
            ("/v1/chat/completions", json!({"messages": messages(&long)})),
        ] {
            let mut body = body;
            body["model"] = "small".into();
            body["stream"] = streams.into();
            body["max_tokens"] = 4.into();
            let answer = server.post(path, &body).await.ok();
            assert!(answer.headers.contains_key(HEADER), "{path} {streams}");
        }
    }
}

#[tokio::test]
async fn a_prompt_is_tokenized_once() {
    let server = tiny().await;
    // It is longer in bytes than its context in tokens, so its tokens have to be counted.
    let long = format!("[[note long]]{}", "<|pad|>".repeat(100));
    let short = "[[note short]]";
    for route in ["/api/chat", "/v1/chat/completions"] {
        for text in [long.as_str(), short] {
            let body = json!({"model": "tiny", "messages": [{"role": "user", "content": text}],
                "stream": false, "options": {"num_ctx": 400}});
            server.post(route, &body).await.ok();
        }
    }
    // The log keeps the order: when the last line is there, the others are, too.
    let last = json!({"model": "tiny", "messages": [{"role": "user", "content": "[[note last]]"}], "stream": false});
    server.post("/api/chat", &last).await.ok();
    let is_last = |line: &str| line.contains("tokenized last").then_some(());
    server.log.wait_for("the last prompt", is_last).await;
    let log = server.log.text();
    for name in ["long", "short"] {
        assert_eq!(
            log.matches(&format!("tokenized {name}")).count(),
            2,
            "{log}"
        );
    }
}
