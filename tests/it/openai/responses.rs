//! Responses, and what is stored of them.

mod background;
mod history;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::ollama::language::TEMPLATE;
use crate::support::models::fake;
use crate::support::{Answer, TestServer};

const PATH: &str = "/v1/responses";

async fn server() -> TestServer {
    with_model(TestServer::start().await).await
}

async fn with_model(server: TestServer) -> TestServer {
    let made = server.create("m", fake().build(), json!({"template": TEMPLATE}));
    made.await.ok();
    server
}

fn ask(input: impl Into<Value>) -> Value {
    json!({"model": "m", "input": input.into()})
}

fn streamed(input: impl Into<Value>) -> Value {
    let mut body = ask(input);
    body["stream"] = true.into();
    body
}

async fn get(server: &TestServer, id: &Value) -> Answer {
    server
        .get(&format!("{PATH}/{}", id.as_str().unwrap()))
        .await
}

async fn delete(server: &TestServer, path: &str) -> Answer {
    server.request(Method::DELETE, path, Vec::new()).await
}

/// Waits until a response has that status.
async fn until(server: &TestServer, id: &Value, status: &str) -> Value {
    let reached = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            let response = get(server, id).await.ok().json();
            if response["status"] == status {
                return response;
            }
            tick.tick().await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(20), reached).await;
    reached.unwrap_or_else(|_| panic!("never {status}\n{}", server.log.text()))
}

fn text(response: &Value) -> String {
    let output = response["output"].as_array().unwrap();
    let texts = output
        .iter()
        .filter_map(|item| item.pointer("/content/0/text"));
    texts.filter_map(Value::as_str).collect()
}

fn refused(answer: &Answer) -> (u16, String, Value, Value) {
    let error = &answer.json()["error"];
    let message = error["message"].as_str().unwrap().to_owned();
    (
        answer.status,
        message,
        error["param"].clone(),
        error["code"].clone(),
    )
}

/// The events of a stream as far as they arrived; the connection is closed afterwards.
async fn first_events(server: &TestServer, body: &Value, n: usize) -> Vec<Value> {
    let request = server.http.post(format!("{}{PATH}", server.url));
    let mut response = request.body(body.to_string()).send().await.unwrap();
    let mut text = String::new();
    while text.matches("\n\n").count() < n {
        let chunk = response.chunk().await.unwrap().expect("more events");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.take(n)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn streamed_and_whole_agree() {
    let server = server().await;
    let whole = server.post(PATH, &ask("One <two>.")).await.ok();
    assert_eq!(whole.headers["content-type"], "application/json");
    let whole = whole.json();
    assert_eq!(
        (&whole["object"], &whole["status"]),
        (&json!("response"), &json!("completed"))
    );
    assert_eq!(text(&whole), "One <two>.");
    let answer = server.post(PATH, &streamed("One <two>.")).await.ok();
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert_eq!(answer.headers["cache-control"], "no-cache");
    let first = answer.text.lines().next().unwrap();
    assert_eq!(first, "event: response.created");
    let events = answer.named_events();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    let response = &last["response"];
    assert_eq!(text(response), "One <two>.");
    // The second request finds its prompt in the cache.
    let usage = &response["usage"];
    let cached = usage["input_tokens_details"]["cached_tokens"]
        .as_u64()
        .unwrap();
    assert!(cached > 0, "{usage}");
    assert_eq!(usage["input_tokens"], whole["usage"]["input_tokens"]);
    assert_eq!(usage["output_tokens"], whole["usage"]["output_tokens"]);
    // Both are stored as they were returned.
    for response in [&whole, response] {
        let stored = get(&server, &response["id"]).await.ok().json();
        assert_eq!(&stored, response);
    }
}

#[tokio::test]
async fn calls_are_told_and_their_results_come_back() {
    let server = server().await;
    let tools = json!([
        {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": false},
        {"type": "web_search"}, {"type": "custom", "name": "patch"},
        {"type": "namespace", "name": "agents", "description": "d",
            "tools": [{"type": "function", "name": "spawn"}]}]);
    let call =
        r#"[[say so <tool_call>{"name": "agents.spawn", "arguments": {"n": 1}}</tool_call>]]"#;
    let mut body = streamed(call);
    body["tools"] = tools.clone();
    let events = server.post(PATH, &body).await.ok().named_events();
    let response = &events.last().unwrap()["response"];
    let output = response["output"].as_array().unwrap();
    let item = output.last().unwrap();
    assert_eq!(
        (&item["type"], &item["name"]),
        (&json!("function_call"), &json!("spawn"))
    );
    assert_eq!(
        (&item["namespace"], &item["arguments"]),
        (&json!("agents"), &json!("{\"n\":1}"))
    );
    assert_eq!(response["tools"], tools);
    let mut body = ask(json!([
        {"type": "function_call_output", "call_id": item["call_id"], "output": "started"},
        {"role": "user", "content": "So?"}]));
    body["previous_response_id"] = response["id"].clone();
    let next = server.post(PATH, &body).await.ok().json();
    assert_eq!(text(&next), "So?");
    // A call can be forced.
    let mut body = ask("x");
    body["tools"] = tools;
    body["tool_choice"] = json!({"type": "function", "name": "weather"});
    let forced = r#"[[say {"name": "weather", "arguments": {}}]]"#;
    body["input"] = json!(forced);
    let forced = server.post(PATH, &body).await.ok().json();
    assert_eq!(forced["output"][0]["name"], "weather");
}

#[tokio::test]
async fn thinking_comes_back_sealed() {
    let server = server().await;
    let mut body = ask("[[say <think>hm</think>yes]]");
    body["include"] = json!(["reasoning.encrypted_content"]);
    body["store"] = json!(false);
    let response = server.post(PATH, &body).await.ok().json();
    let [thought, message] = response["output"].as_array().unwrap().as_slice() else {
        panic!("{response}");
    };
    assert_eq!(
        thought["content"],
        json!([{"type": "reasoning_text", "text": "hm"}])
    );
    assert_eq!(message["content"][0]["text"], "yes");
    let sealed = &thought["encrypted_content"];
    let tokens = async |sealed: &Value| {
        let input = json!([{"role": "user", "content": "q"},
            {"type": "reasoning", "summary": [], "encrypted_content": sealed}, message,
            {"role": "user", "content": "So?"}]);
        let path = "/v1/responses/input_tokens";
        let count = server.post(path, &ask(input)).await.ok().json();
        count["input_tokens"].as_u64().unwrap()
    };
    // The template shows it in tags.
    let none = tokens(&json!("of somebody else")).await;
    assert_eq!(
        tokens(sealed).await,
        none + "<think>hm</think>".len() as u64
    );
    // The key survives a restart.
    let root = server.stopped().await;
    let server = TestServer::builder().root(root).start().await;
    let input = json!([{"role": "user", "content": "q"},
        {"type": "reasoning", "summary": [], "encrypted_content": sealed},
        {"role": "user", "content": "So?"}]);
    let counted = server
        .post("/v1/responses/input_tokens", &ask(input))
        .await
        .ok()
        .json();
    assert!(
        counted["input_tokens"].as_u64() > Some(none - 4),
        "{counted}"
    );
}

#[tokio::test]
async fn an_answer_that_is_cut_is_incomplete() {
    let server = server().await;
    let mut body = streamed("abcdefgh");
    body["max_output_tokens"] = json!(3);
    let events = server.post(PATH, &body).await.ok().named_events();
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    let response = &last["response"];
    assert_eq!(response["status"], "incomplete");
    assert_eq!(
        response["incomplete_details"],
        json!({"reason": "max_output_tokens"})
    );
    assert_eq!(response["output"][0]["status"], "incomplete");
    assert_eq!(get(&server, &response["id"]).await.ok().json(), *response);
    // An agent's probe.
    for input in [json!([]), json!("")] {
        let mut body = streamed(input);
        body["max_output_tokens"] = json!(1);
        let events = server.post(PATH, &body).await.ok().named_events();
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.completed");
        assert_eq!(last["response"]["output"], json!([]));
    }
}

#[tokio::test]
async fn a_runner_that_dies_fails_the_response() {
    let server = server().await;
    let events = server
        // The first tokens are sent before the runner dies.
        .post(
            PATH,
            &streamed("[[slow 20]][[abort 12]]abcdefghijklmnopqrst"),
        )
        .await
        .ok()
        .named_events();
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.failed");
    let response = &last["response"];
    assert_eq!(
        (&response["status"], &response["error"]["code"]),
        (&json!("failed"), &json!("server_error"))
    );
    assert_eq!(response["output"][0]["status"], "incomplete");
    assert_eq!(get(&server, &response["id"]).await.ok().json(), *response);
    // Not streamed: a status.
    let whole = server.post(PATH, &ask("[[abort 3]]abcdefgh")).await;
    assert_eq!(whole.status, 500);
}

#[tokio::test]
async fn a_failure_after_the_headers_is_an_event() {
    let server = TestServer::start().await;
    let file = fake().value("drover-fake.load_ms", 3000).build();
    let made = server.create("m", file, json!({"template": TEMPLATE}));
    made.await.ok();
    let long = streamed("x".repeat(5000));
    let events = server.post(PATH, &long).await.ok().named_events();
    let [event] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(event["type"], "error");
    assert_eq!(
        (&event["sequence_number"], &event["code"]),
        (&json!(0), &json!("context_length_exceeded"))
    );
    // The model is loaded now: an early failure is a status.
    assert_eq!(server.post(PATH, &long).await.status, 400);
}

#[tokio::test]
async fn a_client_that_leaves_stops_its_response() {
    let server = server().await;
    let events = first_events(&server, &streamed("[[slow 50]] [[repeat 500]]abc"), 5).await;
    let id = &events[0]["response"]["id"];
    let response = until(&server, id, "cancelled").await;
    assert_eq!(response["output"][0]["status"], "incomplete");
    // The only slot is free again.
    let next = server.post(PATH, &ask("next")).await.ok().json();
    assert_eq!(text(&next), "next");
}

#[tokio::test]
async fn agents_find_what_they_probe_for() {
    let server = server().await;
    // An attempt to open a WebSocket.
    let answer = server.get(PATH).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["error"]["code"], "unknown_url");
    // What Codex sends, compressed.
    let body = json!({
        "model": "m", "stream": true, "store": false, "tool_choice": "auto",
        "parallel_tool_calls": true, "reasoning": {"summary": "auto"},
        "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k",
        "client_metadata": {"session": "x"}, "service_tier": "auto",
        "tools": [
            {"type": "function", "name": "shell", "strict": false, "parameters": {"type": "object"}},
            {"type": "namespace", "name": "multi_agent_v1", "description": "d", "tools": [
                {"type": "function", "name": "spawn_agent", "parameters": {"type": "object"}}]},
            {"type": "web_search", "external_web_access": true}],
        "input": [
            {"type": "message", "id": "msg_1", "role": "developer",
                "content": [{"type": "input_text", "text": "rules"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}]
    });
    let send = async |coding: &str, body: Vec<u8>| {
        let request = server.http.post(format!("{}{PATH}", server.url)).body(body);
        let response = request
            .header("content-encoding", coding)
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let plain = body.to_string();
    let zstd = zstd::encode_all(plain.as_bytes(), 3).unwrap();
    let (status, events) = send("zstd", zstd.clone()).await;
    assert_eq!(status, 200, "{events}");
    assert!(events.contains(r#""delta":"hello""#) || events.contains("response.completed"));
    let (status, error) = send("zstd", zstd[..zstd.len() - 9].to_vec()).await;
    assert_eq!(status, 400);
    assert!(
        error.contains("failed to decompress request body"),
        "{error}"
    );
    let (status, error) = send("zstd", plain.clone().into_bytes()).await;
    assert_eq!(status, 400, "{error}");
    // It is the same on other routes.
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let request = server
        .http
        .post(format!("{}/v1/chat/completions", server.url));
    let request = request.header("content-encoding", "zstd");
    let body = zstd::encode_all(chat.as_bytes(), 3).unwrap();
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_compressed_bomb_costs_no_memory() {
    let server = TestServer::builder()
        .env("DROVER_BODY_MEMORY", "64MiB")
        .start()
        .await;
    let before = server.peak_bytes();
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(b' '), 1 << 30), 3).unwrap();
    for _ in 0..4 {
        let request = server
            .http
            .post(format!("{}{PATH}", server.url))
            .body(bomb.clone());
        let response = request
            .header("content-encoding", "zstd")
            .send()
            .await
            .unwrap();
        assert!(
            [413, 503].contains(&response.status().as_u16()),
            "{}",
            response.status()
        );
    }
    let grown = server.peak_bytes() - before;
    assert!(grown < 160 << 20, "{grown}");
}
