//! What the daemon reports about requests: its log, and traces.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::TestServer;

/// The log line of a request, by its path and status.
async fn line(server: &TestServer, begin: &str) -> String {
    let pick = |line: &str| line.contains(begin).then(|| line.to_owned());
    server.log.wait_for(begin, pick).await
}

/// The value of a field in a line of text.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    Some(rest.split(' ').next().unwrap_or(rest).trim_matches('"'))
}

#[tokio::test]
async fn a_request_is_told_once_with_what_it_cost_and_how_it_ended() {
    let server = TestServer::start().await;
    server.fake_model("llama3").await;
    let body = json!({"model": "llama3", "prompt": "one two three", "options": {"seed": 1}});
    let lines = server.post("/api/generate", &body).await.ok().lines();
    let last = lines.last().unwrap();
    let told = line(&server, "POST /api/generate 200").await;
    let n = |name| field(&told, name).unwrap_or_else(|| panic!("no {name} in {told}"));
    assert_eq!(n("tokens_in"), last["prompt_eval_count"].to_string());
    assert_eq!(n("tokens_out"), last["eval_count"].to_string());
    assert_eq!(
        (n("model"), n("client"), n("end")),
        ("llama3:latest", "127.0.0.1", "stop")
    );
    let first: f64 = n("first_token_ms").parse().unwrap();
    let whole: f64 = n("duration_ms").parse().unwrap();
    assert!(first > 0.0 && first <= whole, "{told}");
    assert!(told.contains(" INFO "), "{told}");

    // An answer that breaks off had the status 200, and is logged as broken.
    let body = json!({"model": "llama3", "prompt": "[[slow 20]] [[abort 20]] [[repeat 99]] word"});
    server.post("/api/generate", &body).await.ok();
    let broken = line(&server, "POST /api/generate 200, broke off: ").await;
    assert_eq!(field(&broken, "end"), Some("broken"), "{broken}");
    assert!(field(&broken, "tokens_out").is_some(), "{broken}");
    let metrics = server.get("/metrics").await.text;
    let count = r#"drover_answers_broken_total{route="/api/generate"} 1"#;
    assert!(metrics.contains(count), "{metrics}");

    // The same if a separate task writes the answer.
    let body = json!({"model": "llama3", "input": "hi", "stream": true});
    server.post("/v1/responses", &body).await.ok();
    let told = line(&server, "POST /v1/responses 200").await;
    assert!(field(&told, "tokens_out").is_some(), "{told}");
    assert_eq!(field(&told, "end"), Some("stop"), "{told}");

    let body = json!({"model": "nobody", "prompt": "x"});
    server.post("/api/generate", &body).await;
    let told = line(&server, "POST /api/generate 404").await;
    assert_eq!(
        (field(&told, "end"), field(&told, "model")),
        (Some("refused"), None)
    );

    // Health checks are logged at DEBUG only, unless something is wrong.
    server.get("/health").await.ok();
    let told = line(&server, "GET /health 200").await;
    assert!(told.contains("DEBUG"), "{told}");
    let of_request = |line: &&str| line.contains("POST /v1/responses 200");
    assert_eq!(server.log.text().lines().filter(of_request).count(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_is_told_with_what_it_got() {
    let server = TestServer::start().await;
    server.fake_model("llama3").await;
    let body = json!({"model": "llama3", "prompt": "[[slow 20]] [[repeat 500]] word"});
    let mut stream = server.stream("/api/generate", &body).await;
    stream.next().await.unwrap();
    drop(stream);
    let told = line(&server, "POST /api/generate 200, the client left early").await;
    assert_eq!(field(&told, "end"), Some("client_left"), "{told}");
    let n: u32 = field(&told, "tokens_out").unwrap().parse().unwrap();
    assert!((1..500).contains(&n), "{told}");
    let metrics = server.get("/metrics").await.text;
    let count = r#"drover_answers_total{model="llama3:latest",outcome="abort"} 1"#;
    assert!(metrics.contains(count), "{metrics}");
}

#[tokio::test]
async fn the_log_can_be_json() {
    let server = TestServer::builder()
        .env("DROVER_LOG_FORMAT", "json")
        .env("OLLAMA_DEBUG", "0")
        .start()
        .await;
    server.fake_model("llama3").await;
    let body = json!({"model": "llama3", "messages": [{"role": "user", "content": "hi"}]});
    server.post("/api/chat", &body).await.ok();
    server.get("/health").await.ok();
    server.get("/api/tags").await.ok();
    let told = line(&server, "GET /api/tags 200").await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["path"], &told["status"]),
        (&json!("/api/tags"), &json!(200))
    );
    let text = server.log.text();
    let events = text.lines().map(serde_json::from_str::<Value>);
    let events: Vec<Value> = events
        .collect::<Result<_, _>>()
        .unwrap_or_else(|e| panic!("{e}: {text}"));
    let of = |path: &str| events.iter().find(|event| event["path"] == path);
    let chat = of("/api/chat").unwrap();
    assert_eq!(chat["model"], "llama3:latest");
    assert!(chat["tokens_in"].as_u64() > Some(0), "{chat}");
    assert_eq!(
        (&chat["end"], &chat["route"]),
        (&json!("stop"), &json!("/api/chat"))
    );
    assert!(chat["timestamp"].is_string(), "{chat}");
    // DEBUG.
    assert!(of("/health").is_none(), "{text}");
    let settings = |event: &Value| {
        event["message"]
            .as_str()
            .is_some_and(|m| m.starts_with("settings: "))
    };
    let settings = events.iter().find(|event| settings(event)).unwrap();
    let settings = settings["message"].as_str().unwrap();
    assert!(settings.contains("DROVER_LOG_FORMAT=json"), "{settings}");
}

/// A collector: keeps what it receives, with the content type.
#[expect(
    clippy::disallowed_methods,
    reason = "the test owns the collector, which ends with it"
)]
async fn collector(status: StatusCode) -> (String, mpsc::Receiver<(String, Bytes)>) {
    let (to, sent) = mpsc::channel(100);
    let take = move |headers: HeaderMap, body: Bytes| {
        let kind = headers["content-type"].to_str().unwrap().to_owned();
        to.try_send((kind, body)).unwrap();
        async move { status }
    };
    let routes = Router::new().route("/v1/traces", post(take));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, sent)
}

async fn received<T>(sent: &mut mpsc::Receiver<T>) -> T {
    let next = tokio::time::timeout(Duration::from_secs(30), sent.recv()).await;
    next.expect("nothing arrives").unwrap()
}

/// The spans in a request to a collector.
fn spans(body: &[u8]) -> Vec<Value> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let scopes = body["resourceSpans"][0]["scopeSpans"].as_array().unwrap();
    let spans = scopes
        .iter()
        .flat_map(|scope| scope["spans"].as_array().unwrap());
    spans.cloned().collect()
}

/// An attribute of a span.
fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    let value = found.map(|found| found["value"].as_object().unwrap());
    value.map_or(Value::Null, |value| value.values().next().unwrap().clone())
}

#[tokio::test]
async fn a_request_becomes_two_spans_of_the_clients_trace() {
    let (url, mut sent) = collector(StatusCode::OK).await;
    let server = TestServer::builder()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start()
        .await;
    server.fake_model("llama3").await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let body = json!({"model": "llama3", "messages": [{"role": "user", "content": "hi there"}]});
    let request = server.http.post(format!("{}/api/chat", server.url));
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let request = request.header("traceparent", parent).body(body.to_string());
    request.send().await.unwrap().text().await.unwrap();
    let mut of_trace = Vec::new();
    while of_trace.len() < 2 {
        let (kind, body) = received(&mut sent).await;
        assert_eq!(kind, "application/json");
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("\"service.name\""), "{text}");
        of_trace.extend(
            spans(&body)
                .into_iter()
                .filter(|span| span["traceId"] == trace),
        );
    }
    let named = |name: &str| of_trace.iter().find(|span| span["name"] == name).unwrap();
    let http = named("POST /api/chat");
    assert_eq!(http["parentSpanId"], "b7ad6b7169203331");
    assert_eq!(attribute(http, "http.request.method"), "POST");
    assert_eq!(attribute(http, "http.route"), "/api/chat");
    let chat = named("chat llama3:latest");
    assert_eq!(chat["parentSpanId"], http["spanId"]);
    assert_eq!(attribute(chat, "gen_ai.operation.name"), "chat");
    assert_eq!(attribute(chat, "gen_ai.request.model"), "llama3:latest");
    let n = attribute(chat, "gen_ai.usage.output_tokens");
    assert!(
        n.as_str().is_some_and(|n| n.parse::<u32>().unwrap() > 0),
        "{n}"
    );
    assert_eq!(chat["events"][0]["name"], "first token");
    // Prompts and answers must not be in it.
    assert!(
        !of_trace
            .iter()
            .any(|span| span.to_string().contains("hi there"))
    );
}

#[tokio::test]
async fn the_last_spans_are_sent_at_the_end_and_a_collector_that_fails_costs_a_line() {
    let (url, mut sent) = collector(StatusCode::BAD_REQUEST).await;
    let mut server = TestServer::builder()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
        .start()
        .await;
    server.get("/api/tags").await.ok();
    let server_log = server.log.clone();
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code().await, Some(0));
    let (kind, body) = received(&mut sent).await;
    assert_eq!(kind, "application/x-protobuf");
    let text = String::from_utf8_lossy(&body);
    assert!(text.contains("GET /api/tags"), "{text}");
    let told = |line: &str| line.contains("traces cannot be sent").then_some(());
    server_log.wait_for("the failure", told).await;
}
