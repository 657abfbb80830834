//! Small real models through llama.cpp: that what the fake backend promises holds there, too.

use std::time::Instant;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::real::{real, skip};

/// A daemon with a real model that is named as its file.
async fn with_model(name: &str) -> Option<TestServer> {
    let Some(path) = real(name) else {
        skip(&format!("no {name} in DROVER_TEST_MODELS"));
        return None;
    };
    let server = TestServer::builder()
        .env("OLLAMA_NUM_PARALLEL", "8")
        .start()
        .await;
    server
        .create(name, fs_err::read(path).unwrap(), json!({}))
        .await
        .ok();
    Some(server)
}

fn question(model: &str, content: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": content}],
           "options": {"temperature": 0, "num_predict": 24, "num_ctx": 1024}})
}

const QUESTIONS: [&str; 8] = [
    "What is the capital of France?",
    "Name a colour.",
    "What is two plus two?",
    "Say hello in Spanish.",
    "Which animal says meow?",
    "What do bees make?",
    "Name a planet.",
    "Where do fish live?",
];

#[tokio::test]
async fn smollm2_answers_and_both_ways_of_answering_agree() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    let body = question("smollm2-135m", "Which animal says meow?");
    let lines = server.stream("/api/chat", &body).await.rest().await;
    let pieces = lines
        .iter()
        .map(|line| line["message"]["content"].as_str().unwrap());
    let streamed: String = pieces.collect();
    assert!(streamed.contains("cat"), "{streamed}");
    assert_eq!(lines.last().unwrap()["done"], true);
    let mut whole = body;
    whole["stream"] = false.into();
    let whole = server.post("/api/chat", &whole).await.ok().json();
    assert_eq!(whole["message"]["content"], streamed);
}

#[tokio::test]
async fn gemma3_continues_a_text() {
    let Some(server) = with_model("gemma3-270m").await else {
        return;
    };
    let body = json!({"model": "gemma3-270m", "prompt": "1 2 3 4 5 6 7", "raw": true,
                      "stream": false, "options": {"temperature": 0, "num_predict": 8}});
    let answer = server.post("/api/generate", &body).await.ok().json();
    let text = answer["response"].as_str().unwrap();
    assert!(text.starts_with(" 8 9 10"), "{answer}");
}

/// Grouping changes logits a little, so that a greedy answer may part from the other one where
/// two tokens are nearly equal: most of the text must agree, not all of it.
#[tokio::test]
async fn eight_greedy_answers_at_once_are_those_of_each_alone() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    let ask = async |content: &str| {
        let mut text = String::new();
        let mut first = None;
        let body = question("smollm2-135m", content);
        let mut stream = server.stream("/api/chat", &body).await;
        let mut n_generated = 0;
        while let Some(line) = stream.next().await {
            first.get_or_insert_with(Instant::now);
            text.push_str(
                line["message"]["content"]
                    .as_str()
                    .unwrap_or_else(|| panic!("{line}")),
            );
            n_generated = line["eval_count"].as_u64().unwrap_or_default();
        }
        (first.unwrap(), Instant::now(), text, n_generated)
    };
    let mut alone = Vec::new();
    for content in QUESTIONS {
        alone.push(ask(content).await.2);
    }
    let started = Instant::now();
    let together = join_all(QUESTIONS.map(&ask)).await;
    let seconds = started.elapsed().as_secs_f64();
    let n_generated: u64 = together.iter().map(|answer| answer.3).sum();
    let last_start = together.iter().map(|answer| answer.0).max().unwrap();
    let first_end = together.iter().map(|answer| answer.1).min().unwrap();
    assert!(last_start < first_end, "some waited until others were done");
    let agreements = together
        .iter()
        .zip(&alone)
        .map(|(together, alone)| agreement(&together.2, alone));
    let agreement = agreements.sum::<f64>() / 8.0;
    println!(
        "greedy answers agree to {agreement:.2}; {n_generated} tokens in {seconds:.1} s: {:.1} tokens/s",
        f64::from(u32::try_from(n_generated).unwrap()) / seconds
    );
    assert!(agreement > 0.5, "{alone:#?}\n{together:#?}");
}

/// The part of a text up to the first difference to another one.
fn agreement(text: &str, other: &str) -> f64 {
    let n_equal = text
        .bytes()
        .zip(other.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let count = |n: usize| f64::from(u32::try_from(n).unwrap());
    count(n_equal) / count(text.len().max(other.len()))
}

#[tokio::test]
async fn a_real_runner_that_is_killed_is_replaced() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    let mut body = question("smollm2-135m", "Tell me a long story.");
    body["options"]["num_predict"] = 500.into();
    let mut stream = server.stream("/api/chat", &body).await;
    stream.next().await.unwrap();
    server.runner().signal(Signal::KILL);
    let rest = stream.rest().await;
    assert!(
        rest.last().is_some_and(|line| line["error"].is_string()),
        "{rest:?}"
    );
    let mut again = question("smollm2-135m", "Name a colour.");
    again["stream"] = false.into();
    server.post("/api/chat", &again).await.ok();
}

#[tokio::test]
async fn a_file_that_llama_cpp_refuses_is_an_error_and_not_the_end() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    // A sound header without any of the tensors that the architecture needs.
    let file = drover::model::gguf::builder::GgufBuilder::model("llama").build();
    let created = server.create("hollow", file, json!({})).await;
    if created.status == 200 {
        let body = json!({"model": "hollow", "prompt": "x", "stream": false});
        let answer = server.post("/api/generate", &body).await;
        assert_eq!(answer.status, 500, "{}", answer.text);
        assert_ne!(answer.error(), "");
    }
    let mut body = question("smollm2-135m", "Name a colour.");
    body["stream"] = false.into();
    server.post("/api/chat", &body).await.ok();
    assert_eq!(server.runners().len(), 1);
}
