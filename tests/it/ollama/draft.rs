//! A second, smaller model (`DRAFT`) that drafts a model's answers.

use serde_json::{Value, json};

use super::metrics::value;
use crate::support::{TestServer, models};

const ANSWER: &str = "The five boxing wizards jump quickly.";

async fn ask(server: &TestServer, model: &str, options: Value) -> Value {
    let body = json!({"model": model, "prompt": "Go on.", "stream": false, "options": options});
    let answer = server.post("/api/generate", &body).await.ok().json();
    assert_eq!(answer["response"], ANSWER);
    answer
}

/// A daemon with a model that has this draft model.
async fn with_draft(draft: Vec<u8>) -> TestServer {
    let server = TestServer::builder().env("DROVER_SPECULATIVE", "on");
    let server = server.start().await;
    let digest = server.upload(draft).await;
    let more = json!({"draft_files": {"draft.gguf": digest}});
    // The answer is not in the prompt, where it could be looked up.
    let model = models::fake().value("drover-fake.answer", ANSWER);
    server.create("tiny", model.build(), more).await.ok();
    server
}

#[tokio::test]
async fn a_draft_model_guesses_and_the_answer_stays() {
    let draft = models::fake().value("drover-fake.answer", ANSWER);
    let server = with_draft(draft.build()).await;
    let of_model = |name: &str| format!(r#"drover_{name}{{model="tiny:latest"}}"#);
    let answer = ask(&server, "tiny", json!({})).await;
    let n_accepted = value(&server, &of_model("accepted_tokens_total")).await;
    let n_generated = answer["eval_count"].as_f64().unwrap();
    assert!(
        n_accepted > n_generated / 2.0,
        "{n_accepted} of {n_generated}"
    );
    let n_drafted = value(&server, &of_model("drafted_tokens_total")).await;
    ask(&server, "tiny", json!({"draft_num_predict": 0})).await;
    let same = value(&server, &of_model("drafted_tokens_total")).await;
    assert!((same - n_drafted).abs() < 0.5, "{same} and not {n_drafted}");
}

#[tokio::test]
async fn a_draft_model_of_another_vocabulary_is_left_out_with_a_warning() {
    let draft = models::fake().value("drover-fake.vocabulary", 7);
    let server = with_draft(draft.build()).await;
    ask(&server, "tiny", json!({})).await;
    let warning = |line: &str| {
        let is_it = line.contains("is not used: their vocabularies differ");
        is_it.then_some(())
    };
    server.log.wait_for("the warning", warning).await;
}
