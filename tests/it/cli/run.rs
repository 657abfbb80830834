//! `run`: one question, one answer, without a terminal.

use crate::support::{Drover, TestServer};

#[tokio::test]
async fn run_prints_the_answer_and_nothing_else() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let drover = Drover::of(&server);
    let answer = drover.run(&["run", "tiny", "say", "something"]).await;
    assert!(!answer.stderr.contains("Error"), "{answer:?}");
    let answer = answer.ok();
    assert!(
        answer.ends_with('\n') && !answer.trim().is_empty(),
        "{answer:?}"
    );
    assert!(
        !answer.contains('\u{1b}'),
        "escape sequences in a pipe: {answer:?}"
    );
}

#[tokio::test]
async fn piped_text_comes_before_the_question() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let drover = Drover::of(&server);
    let piped = drover.run_with(&["run", "tiny"], "only piped").await.ok();
    assert_eq!(piped.trim_end(), "only piped");
    let both = drover
        .run_with(&["run", "tiny", "question"], "piped")
        .await
        .ok();
    let (first, second) = (both.find("piped"), both.find("question"));
    assert!(first.is_some() && first < second, "{both}");
}

#[tokio::test]
async fn verbose_statistics_go_to_the_other_channel() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let output = Drover::of(&server)
        .run(&["run", "--verbose", "tiny", "hello"])
        .await;
    assert!(output.stderr.contains("eval rate:"), "{output:?}");
    assert!(!output.ok().contains("eval rate"));
}

#[tokio::test]
async fn errors_of_the_model_reach_the_user() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let drover = Drover::of(&server);
    let output = drover.run(&["run", "tiny", "[[abort]]"]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(
        output
            .stderr
            .contains("model runner has unexpectedly stopped"),
        "{output:?}"
    );
    drover.run(&["run", "nobody", "hello"]).await.failed();
}

#[tokio::test]
async fn under_ollamas_name_it_speaks_as_ollama() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let ollama = Drover::of(&server).named("ollama");
    let version = ollama.run(&["--version"]).await.ok();
    assert!(version.starts_with("ollama version is "), "{version}");
    let help = ollama.run(&["--help"]).await.ok();
    assert!(
        help.contains("ollama") && !help.contains("drover "),
        "{help}"
    );
    let unknown = ollama.run(&["lits"]).await.failed();
    assert!(
        unknown.starts_with("Error: unknown command \"lits\" for \"ollama\""),
        "{unknown}"
    );
    assert_eq!(ollama.run(&["list"]).await.ok().lines().count(), 2);
    assert_ne!(ollama.run(&["run", "tiny", "hello"]).await.ok(), "");
}

#[tokio::test]
async fn a_prompt_that_was_cut_is_told_beside_the_answer() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let small = serde_json::json!({"model": "small", "from": "tiny", "parameters": {"num_ctx": 96, "num_predict": 4},
        "stream": false});
    server.post("/api/create", &small).await.ok();
    let drover = Drover::of(&server);
    let long = "one two three four five ".repeat(40);
    let output = drover.run(&["run", "small", &long]).await;
    assert!(
        output.stderr.contains("longer than the context"),
        "{output:?}"
    );
    assert!(!output.ok().contains("longer than the context"));
    let output = drover.run(&["run", "small", "short"]).await;
    assert!(
        !output.stderr.contains("longer than the context"),
        "{output:?}"
    );
}
