//! Loading: which requests wait for it, which avoid it, which are refused.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{TestServer, models};

#[tokio::test]
async fn another_context_length_is_no_reload() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let ask = async |num_ctx: u32| {
        let body = json!({"model": "tiny", "prompt": "hello", "stream": false,
                          "options": {"num_ctx": num_ctx}});
        server.post("/api/generate", &body).await.ok();
        server.runner().pid
    };
    let first = ask(2048).await;
    for num_ctx in [1024, 2048, 512, 2048] {
        assert_eq!(ask(num_ctx).await, first, "num_ctx {num_ctx}");
    }
}

#[tokio::test]
async fn a_prompt_beyond_the_context_is_cut_or_refused_as_asked() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let body = |more: Value| {
        let mut body = json!({"model": "tiny", "prompt": "word ".repeat(1000), "stream": false,
                              "options": {"num_ctx": 256, "num_predict": 5}});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    let cut = server
        .post("/api/generate", &body(json!({})))
        .await
        .ok()
        .json();
    let n_prompt = cut["prompt_eval_count"].as_u64().unwrap();
    assert!((1..=256).contains(&n_prompt), "{cut}");
    for more in [json!({"truncate": false}), json!({"shift": false})] {
        let refused = server.post("/api/generate", &body(more.clone())).await;
        assert_eq!(refused.status, 400, "{more}: {}", refused.text);
        assert!(
            refused.error().contains("context"),
            "{more}: {}",
            refused.text
        );
    }
}

#[tokio::test]
async fn old_messages_give_way_to_new_ones() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let mut messages = vec![json!({"role": "system", "content": "rules"})];
    for turn in 0..40 {
        messages.push(
            json!({"role": "user", "content": format!("question {turn} {}", "x".repeat(50))}),
        );
    }
    let body = json!({"model": "tiny", "messages": messages, "stream": false,
                      "options": {"num_ctx": 512, "num_predict": 5}});
    let answer = server.post("/api/chat", &body).await.ok().json();
    assert!(
        answer["prompt_eval_count"]
            .as_u64()
            .is_some_and(|n| n <= 512),
        "{answer}"
    );
}

#[tokio::test]
async fn headers_do_not_wait_for_a_long_load() {
    let server = TestServer::start().await;
    let slow = models::fake_that_loads_for(Duration::from_secs(4));
    server.create("slow", slow.build(), json!({})).await.ok();
    let started = Instant::now();
    let mut stream = server
        .stream(
            "/api/generate",
            &json!({"model": "slow", "prompt": "hello"}),
        )
        .await;
    let headers = started.elapsed();
    assert_eq!(stream.status(), 200);
    assert!(headers < Duration::from_secs(3), "headers took {headers:?}");
    let first = stream.next().await.unwrap();
    assert!(
        started.elapsed() > Duration::from_secs(3),
        "the load was not slow"
    );
    assert_eq!(first["done"], false, "{first}");
    assert_eq!(stream.rest().await.last().unwrap()["done"], true);
}

#[tokio::test]
async fn more_waiting_requests_than_the_queue_holds_are_refused() {
    let server = TestServer::builder()
        .env("OLLAMA_MAX_QUEUE", "1")
        .start()
        .await;
    let slow = models::fake_that_loads_for(Duration::from_secs(2));
    server.create("slow", slow.build(), json!({})).await.ok();
    let body = json!({"model": "slow", "prompt": "hello", "stream": false});
    let answers = join_all((0..6).map(|_| server.post("/api/generate", &body))).await;
    let refused: Vec<String> = answers
        .iter()
        .filter(|answer| answer.status == 503)
        .map(|answer| answer.error())
        .collect();
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(served >= 1 && !refused.is_empty(), "{answers:?}");
    assert_eq!(served + refused.len(), 6, "{answers:?}");
    let text = "server busy, please try again.  maximum pending requests exceeded";
    assert!(refused.iter().all(|error| error == text), "{refused:?}");
}

#[tokio::test]
async fn who_is_refused_hears_when_there_may_be_room() {
    let server = TestServer::builder()
        .env("OLLAMA_NUM_PARALLEL", "1")
        .env("OLLAMA_MAX_QUEUE", "2")
        .start()
        .await;
    server.fake_model("tiny").await;
    let about_two_seconds = "[[slow 50]] [[repeat 40]] word";
    let body = json!({"model": "tiny", "prompt": about_two_seconds, "stream": false});
    server.post("/api/generate", &body).await.ok();
    // One request that is being answered, and two that wait.
    let endless = json!({"model": "tiny", "prompt": "[[slow 50]] [[repeat 200000]]"});
    let mut crowd = Vec::new();
    let mut refused = Vec::new();
    while refused.len() < 4 {
        let request = server.http.post(format!("{}/api/generate", server.url));
        let answer = request.body(endless.to_string()).send().await.unwrap();
        match answer.status().as_u16() {
            503 => refused.push(answer),
            _ => crowd.push(answer),
        }
    }
    let waits: Vec<u64> = refused
        .iter()
        .map(|answer| {
            let wait = answer.headers()["retry-after"].to_str().unwrap();
            wait.parse().unwrap()
        })
        .collect();
    // Each of them would get the place after the previous one.
    assert!(waits[0] >= 2 && waits[3] > 2 * waits[0], "{waits:?}");
    assert_eq!(crowd.len(), 3);
}

#[tokio::test]
async fn requests_for_one_model_share_one_load() {
    let server = TestServer::start().await;
    let slow = models::fake_that_loads_for(Duration::from_secs(1));
    server.create("slow", slow.build(), json!({})).await.ok();
    let body = json!({"model": "slow", "prompt": "hello", "stream": false});
    for answer in join_all((0..6).map(|_| server.post("/api/generate", &body))).await {
        answer.ok();
    }
    assert_eq!(server.runners().len(), 1);
}
