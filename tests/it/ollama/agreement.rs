//! Greedy answers agree, whatever else is being answered and whatever is in the cache, except where the best tokens are
//! nearly equal (`tests/bench/agreement` tests more, with two models).

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::real::with_model;
use crate::support::TestServer;

/// How much less likely the other token may be where answers diverge, as a natural logarithm: grouping changes the last
/// bits of the logits.
const EPSILON: f64 = 0.5;

/// The least number of tokens that all answers together must share: an empty answer would agree with every other.
const N_SAME: usize = 30;

const PROMPTS: [&str; 8] = [
    "Bees have been known for a long time. People who look at bees often ask",
    "Question: What should a child know about rivers?\nAnswer:",
    "The three most important facts about bridges are these. First,",
    "Dear Anna, you asked me about clocks. I have thought about it for a week, and",
    "1. buy violins\n2. clean the violins\n3.",
    "In the museum there is a room for volcanoes. On the sign at the door one can read:",
    "News of the day. The price of bread has risen again, because",
    "Trains, trains and trains: that is all he talked about, until one morning",
];

async fn answer(server: &TestServer, prompt: &str, n_tokens: u32) -> Vec<Value> {
    let body = json!({"model": "smollm2-135m", "prompt": prompt, "raw": true, "stream": false,
        "logprobs": true, "top_logprobs": 5,
        "options": {"temperature": 0, "num_predict": n_tokens, "num_ctx": 256}});
    let answer = server.post("/api/generate", &body).await.ok().json();
    answer["logprobs"].as_array().cloned().unwrap_or_default()
}

/// Compares two answers up to the place where they diverge; returns how many tokens they share.
#[track_caller]
fn check(alone: &[Value], other: &[Value]) -> usize {
    let mut pairs = alone.iter().zip(other);
    let Some(n_same) = pairs.position(|(mine, theirs)| mine["token"] != theirs["token"]) else {
        return alone.len().min(other.len());
    };
    let (mine, theirs) = (&alone[n_same], &other[n_same]);
    let best = mine["top_logprobs"].as_array().unwrap();
    let taken = best.iter().find(|top| top["token"] == theirs["token"]);
    let taken = taken.unwrap_or_else(|| panic!("{} is not among {best:?}", theirs["token"]));
    let gap = mine["logprob"].as_f64().unwrap() - taken["logprob"].as_f64().unwrap();
    assert!(gap < EPSILON, "{mine} {theirs}");
    n_same
}

#[tokio::test]
async fn greedy_answers_agree_alone_in_a_batch_and_with_a_cached_prefix() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    let mut alone = Vec::new();
    for prompt in PROMPTS {
        alone.push(answer(&server, prompt, 12).await);
    }
    // A model may answer nothing, but not to all prompts.
    let n_words: usize = alone.iter().map(Vec::len).sum();
    assert!(n_words > 40, "{n_words}");
    let unload = json!({"model": "smollm2-135m", "keep_alive": 0});
    server.post("/api/generate", &unload).await.ok();
    server.no_runners().await;
    let batched = join_all(PROMPTS.map(|prompt| answer(&server, prompt, 12))).await;
    let answers = alone.iter().zip(&batched);
    let n_same: usize = answers.map(|(alone, batched)| check(alone, batched)).sum();
    assert!(n_same > N_SAME, "{n_same}");
    server.post("/api/generate", &unload).await.ok();
    server.no_runners().await;
    let mut n_same = 0;
    for (prompt, alone) in PROMPTS.iter().zip(&alone) {
        answer(&server, &prompt[..prompt.len() / 2], 1).await;
        n_same += check(alone, &answer(&server, prompt, 12).await);
    }
    assert!(n_same > N_SAME, "{n_same}");
}
