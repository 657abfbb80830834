//! Processes that die: the daemon outlives its runners, and no runner outlives the daemon.

use rustix::process::Signal;
use serde_json::json;

use crate::support::TestServer;
use crate::support::process::Watched;

/// An answer that goes on for as long as a test needs.
fn endless() -> serde_json::Value {
    json!({"model": "tiny", "prompt": "[[slow 20]] [[repeat 2000]]"})
}

#[tokio::test]
async fn a_killed_runner_costs_its_requests_and_nothing_else() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let mut stream = server.stream("/api/generate", &endless()).await;
    assert_eq!(stream.next().await.unwrap()["done"], false);
    let runner = server.runner();
    runner.signal(Signal::KILL);

    let rest = stream.rest().await;
    let last = rest.last().expect("the stream ends with an error object");
    let error = last["error"].as_str().unwrap_or_else(|| panic!("{last}"));
    assert!(
        error.contains("model runner has unexpectedly stopped"),
        "{error}"
    );

    let body = json!({"model": "tiny", "prompt": "again", "stream": false});
    let answer = server.post("/api/generate", &body).await.ok().json();
    assert_eq!(answer["done"], true);
    let runners = server.runners();
    assert_eq!(runners.len(), 1, "{runners:?}");
    assert!(
        !runners[0].is_zombie && runners[0].pid != runner.pid,
        "{runners:?}"
    );
}

#[tokio::test]
async fn a_runner_that_aborts_is_reported_whole_and_streamed() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let body = json!({"model": "tiny", "prompt": "[[abort]]", "stream": false});
    let answer = server.post("/api/generate", &body).await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert!(
        answer
            .error()
            .contains("model runner has unexpectedly stopped"),
        "{}",
        answer.text
    );
    let body = json!({"model": "tiny", "prompt": "fine", "stream": false});
    server.post("/api/generate", &body).await.ok();
}

#[tokio::test]
async fn a_killed_daemon_leaves_no_runner() {
    let mut server = TestServer::start().await;
    server.fake_model("tiny").await;
    let mut stream = server.stream("/api/generate", &endless()).await;
    stream.next().await.unwrap();
    let runner = server.runner();
    server.signal(Signal::KILL);
    assert_eq!(server.exit_code().await, None);
    runner.ended("the runner of a killed daemon").await;
}

#[tokio::test]
async fn a_runner_that_hangs_is_replaced() {
    let server = TestServer::builder()
        .env("DROVER_RUNNER_TIMEOUT", "1s")
        .start()
        .await;
    server.fake_model("tiny").await;
    let body = json!({"model": "tiny", "prompt": "[[hang]]"});
    let request = server.stream("/api/generate", &body);
    let rest = request.await.rest().await;
    assert!(
        rest.last().is_some_and(|line| line["error"].is_string()),
        "{rest:?}"
    );
    let body = json!({"model": "tiny", "prompt": "fine", "stream": false});
    server.post("/api/generate", &body).await.ok();
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let server = TestServer::builder()
        .env("OLLAMA_NUM_PARALLEL", "1")
        .start()
        .await;
    server.fake_model("tiny").await;
    let mut stream = server.stream("/api/generate", &endless()).await;
    stream.next().await.unwrap();
    let runner: Watched = server.runner();
    drop(stream);
    // With one slot, this answer comes only after the other one's end: after 40 seconds, or at once.
    let body = json!({"model": "tiny", "prompt": "mine", "stream": false});
    let started = std::time::Instant::now();
    server.post("/api/generate", &body).await.ok();
    assert!(
        started.elapsed().as_secs() < 20,
        "the abandoned answer was computed to its end"
    );
    assert_eq!(server.runner().pid, runner.pid);
}
