//! `GET /metrics`: what requests and steps leave there.

use serde_json::json;

use crate::support::TestServer;

/// The value of a metric, 0 where it is not there yet.
pub(super) async fn value(server: &TestServer, line: &str) -> f64 {
    let text = server.get("/metrics").await.ok().text;
    let found = text.lines().find_map(|known| known.strip_prefix(line));
    found.map_or(0.0, |value| value.trim().parse().unwrap())
}

#[tokio::test]
async fn requests_and_steps_are_counted() {
    let server = TestServer::start().await;
    server.fake_model("llama3").await;
    let of_model = |name: &str| format!(r#"drover_{name}{{model="llama3:latest"}}"#);
    let body = json!({"model": "llama3", "prompt": "one two three four", "stream": false,
        // One token a step: with a seed there are no drafts.
        "options": {"seed": 1}});
    let answer = server.post("/api/generate", &body).await.ok().json();
    let n_prompt = answer["prompt_eval_count"].as_f64().unwrap();
    let n_generated = answer["eval_count"].as_f64().unwrap();
    assert_eq!(
        value(&server, &of_model("prompt_tokens_total")).await,
        n_prompt
    );
    assert_eq!(
        value(&server, &of_model("generated_tokens_total")).await,
        n_generated
    );
    // The same again comes from the cache but for its last token.
    server.post("/api/generate", &body).await.ok();
    assert_eq!(
        value(&server, &of_model("prompt_tokens_cached_total")).await,
        n_prompt - 1.0
    );
    assert!(value(&server, &of_model("step_duration_seconds_count")).await >= n_generated);
    assert_eq!(value(&server, &of_model("sequences_running")).await, 0.0);

    server.post("/api/generate", &json!({})).await;
    server.get("/nowhere/at/all").await;
    let of_route =
        |route, status| format!(r#"drover_requests_total{{route="{route}",status="{status}"}}"#);
    assert_eq!(value(&server, &of_route("/api/generate", 200)).await, 2.0);
    assert_eq!(value(&server, &of_route("-", 404)).await, 1.0);
    let answer = server.get("/metrics").await;
    let kind = answer.headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
}
