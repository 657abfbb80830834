//! Stopping the daemon: streams get a grace period, then everything is gone.

use rustix::process::Signal;
use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn sigterm_lets_a_short_answer_end() {
    let mut server = TestServer::start().await;
    server.fake_model("tiny").await;
    let body = json!({"model": "tiny", "prompt": "[[slow 10]] [[repeat 50]]"});
    let mut stream = server.stream("/api/generate", &body).await;
    stream.next().await.unwrap();
    let runner = server.runner();
    server.signal(Signal::TERM);
    let rest = stream.rest().await;
    let last = rest.last().unwrap();
    assert_eq!(last["done"], true, "{last}");
    assert_eq!(server.exit_code().await, Some(0), "{}", server.log.text());
    runner.ended("the runner of a stopped daemon").await;
}

#[tokio::test]
async fn sigterm_cuts_a_long_answer_with_an_error_object() {
    let mut server = TestServer::builder()
        .env("DROVER_GRACE", "200ms")
        .start()
        .await;
    server.fake_model("tiny").await;
    let body = json!({"model": "tiny", "prompt": "[[slow 50]] [[repeat 2000]]"});
    let mut stream = server.stream("/api/generate", &body).await;
    stream.next().await.unwrap();
    let runner = server.runner();
    server.signal(Signal::TERM);
    let rest = stream.rest().await;
    assert!(
        rest.last().is_some_and(|line| line["error"].is_string()),
        "{:?}",
        rest.last()
    );
    assert_eq!(server.exit_code().await, Some(0), "{}", server.log.text());
    runner.ended("the runner of a stopped daemon").await;
}

#[tokio::test]
async fn an_idle_daemon_stops_at_once_with_a_model_loaded() {
    let mut server = TestServer::start().await;
    server.fake_model("tiny").await;
    server
        .post("/api/generate", &json!({"model": "tiny", "keep_alive": -1}))
        .await
        .ok();
    let runner = server.runner();
    server.signal(Signal::INT);
    assert_eq!(server.exit_code().await, Some(0), "{}", server.log.text());
    runner.ended("the runner of a stopped daemon").await;
}

/// A terminal sends the signal to all processes of the group.
#[tokio::test]
async fn ctrl_c_lets_a_short_answer_end() {
    let mut server = TestServer::builder().leads_group().start().await;
    server.fake_model("tiny").await;
    let body = json!({"model": "tiny", "prompt": "[[slow 10]] [[repeat 50]]"});
    let mut stream = server.stream("/api/generate", &body).await;
    stream.next().await.unwrap();
    let runner = server.runner();
    server.signal_group(Signal::INT);
    let rest = stream.rest().await;
    let last = rest.last().unwrap();
    assert_eq!(last["done"], true, "{last}");
    assert_eq!(server.exit_code().await, Some(0), "{}", server.log.text());
    runner.ended("the runner of a stopped daemon").await;
}
