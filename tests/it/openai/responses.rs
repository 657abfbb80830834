//! Responses, and what is stored of them.

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
async fn a_response_goes_on_from_another() {
    let server = server().await;
    // The template shows the earlier messages; the fake model answers the last user message.
    let first = server
        .post(PATH, &ask("[[say blue]] My favourite?"))
        .await
        .ok()
        .json();
    let mut next = ask("So?");
    next["previous_response_id"] = first["id"].clone();
    let second = server.post(PATH, &next).await.ok().json();
    assert_eq!(second["previous_response_id"], first["id"]);
    let mut counted = next.clone();
    let count = server
        .post("/v1/responses/input_tokens", &counted)
        .await
        .ok()
        .json();
    assert_eq!(count["object"], "response.input_tokens");
    assert_eq!(count["input_tokens"], second["usage"]["input_tokens"]);
    // The same as if everything were sent.
    counted["previous_response_id"] = Value::Null;
    counted["input"] = json!([
        {"role": "user", "content": "[[say blue]] My favourite?"},
        {"role": "assistant", "content": "blue"},
        {"role": "user", "content": "So?"}]);
    let count = server
        .post("/v1/responses/input_tokens", &counted)
        .await
        .ok()
        .json();
    assert_eq!(count["input_tokens"], second["usage"]["input_tokens"]);

    let path = format!("{PATH}/{}/input_items", second["id"].as_str().unwrap());
    let items = server.get(&path).await.ok().json();
    assert_eq!(
        items["data"][0]["content"],
        json!([{"type": "input_text", "text": "So?"}])
    );
    assert_eq!(
        (&items["has_more"], &items["first_id"]),
        (&json!(false), &items["last_id"])
    );

    // A request may refer to an item by its id.
    let reference = json!([{"type": "item_reference", "id": items["first_id"]}]);
    let again = server.post(PATH, &ask(reference)).await.ok().json();
    assert_eq!(text(&again), "So?");

    let first_path = format!("{PATH}/{}", first["id"].as_str().unwrap());
    let gone = delete(&server, &first_path).await.ok().json();
    let expected = json!({"id": first["id"], "object": "response", "deleted": true});
    assert_eq!(gone, expected);
    let missing = format!(
        "Response with id '{}' not found.",
        first["id"].as_str().unwrap()
    );
    let code = json!("response_not_found");
    assert_eq!(
        refused(&server.get(&first_path).await),
        (404, missing.clone(), json!("id"), code)
    );
    let expected = (
        400,
        format!("Previous {}", missing.replacen('R', "r", 1)),
        json!("previous_response_id"),
        json!("previous_response_not_found"),
    );
    assert_eq!(refused(&server.post(PATH, &next).await), expected);
    assert_eq!(delete(&server, &first_path).await.status, 404);
}

#[tokio::test]
async fn a_conversation_collects_what_is_said() {
    let server = server().await;
    let body = json!({"metadata": {"topic": "colours"},
        "items": [
        {"role": "user", "content": "I like blue."}, {"role": "assistant", "content": "Noted."}]});
    let conversation = server.post("/v1/conversations", &body).await.ok().json();
    assert_eq!(conversation["object"], "conversation");
    assert_eq!(conversation["metadata"], json!({"topic": "colours"}));
    let path = format!("/v1/conversations/{}", conversation["id"].as_str().unwrap());
    assert_eq!(server.get(&path).await.ok().json(), conversation);
    for (question, form) in [
        ("One", conversation["id"].clone()),
        ("Two", json!({"id": conversation["id"]})),
    ] {
        let mut body = ask(question);
        body["conversation"] = form;
        let response = server.post(PATH, &body).await.ok().json();
        assert_eq!(response["conversation"], json!({"id": conversation["id"]}));
    }
    let added = json!({"items": [{"role": "user", "content": "Bye"}]});
    let added = server
        .post(&format!("{path}/items"), &added)
        .await
        .ok()
        .json();
    let said = async |query: &str| {
        let list = server
            .get(&format!("{path}/items{query}"))
            .await
            .ok()
            .json();
        let items = list["data"].as_array().unwrap().clone();
        let text = |item: &Value| item["content"][0]["text"].as_str().unwrap().to_owned();
        (items.iter().map(text).collect::<Vec<_>>(), list)
    };
    let all = ["I like blue.", "Noted.", "One", "One", "Two", "Two", "Bye"];
    assert_eq!(said("?order=asc").await.0, all);
    let (newest, list) = said("?limit=2").await;
    assert_eq!(
        (newest.as_slice(), &list["has_more"]),
        (&["Bye".to_owned(), "Two".to_owned()][..], &json!(true))
    );
    let after = list["last_id"].as_str().unwrap();
    assert_eq!(
        said(&format!("?limit=2&after={after}")).await.0,
        ["Two", "One"]
    );

    let item = format!("{path}/items/{}", added["first_id"].as_str().unwrap());
    assert_eq!(server.get(&item).await.ok().json(), added["data"][0]);
    assert_eq!(
        delete(&server, &item).await.ok().json()["id"],
        conversation["id"]
    );
    assert_eq!(server.get(&item).await.status, 404);
    assert_eq!(said("?order=asc").await.0, all[..6]);

    let changed = json!({"metadata": {"topic": "none"}});
    let changed = server.post(&path, &changed).await.ok().json();
    assert_eq!(changed["metadata"], json!({"topic": "none"}));
    let gone = delete(&server, &path).await.ok().json();
    assert_eq!(gone["object"], "conversation.deleted");
    let mut body = ask("Three");
    body["conversation"] = conversation["id"].clone();
    let (status, _, param, _) = refused(&server.post(PATH, &body).await);
    assert_eq!((status, param), (404, json!("conversation")));
    assert_eq!(server.get(&path).await.status, 404);
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
async fn a_history_that_does_not_fit_is_refused_unless_it_may_be_cut() {
    let server = server().await;
    let long =
        json!([{"role": "user", "content": "x".repeat(5000)}, {"role": "user", "content": "q"}]);
    let mut body = ask(long);
    let (status, _, _, code) = refused(&server.post(PATH, &body).await);
    assert_eq!((status, code), (400, json!("context_length_exceeded")));
    body["stream"] = json!(true);
    assert_eq!(server.post(PATH, &body).await.status, 400);
    body["stream"] = json!(false);
    body["truncation"] = json!("auto");
    let answer = server.post(PATH, &body).await.ok();
    assert_eq!(answer.headers["x-drover-prompt-truncated"], "true");
    assert_eq!(text(&answer.json()), "q");
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
async fn a_response_in_the_background_is_fetched_and_followed() {
    let server = server().await;
    let mut body = ask("[[slow 5]] [[repeat 40]]abc");
    body["background"] = json!(true);
    let queued = server.post(PATH, &body).await.ok().json();
    assert_eq!(
        (&queued["status"], &queued["output"]),
        (&json!("queued"), &json!([]))
    );
    let id = &queued["id"];
    let path = format!("{PATH}/{}", id.as_str().unwrap());
    // While it runs, and from the middle.
    let all = server
        .get(&format!("{path}?stream=true"))
        .await
        .ok()
        .named_events();
    let kinds = [
        "response.created",
        "response.queued",
        "response.in_progress",
    ];
    for (event, kind) in all.iter().zip(kinds) {
        assert_eq!(event["type"], kind);
    }
    let done = until(&server, id, "completed").await;
    assert_eq!(all.last().unwrap()["response"], done);
    assert_eq!(text(&done), ["abc"; 40].join(" "));
    // Also afterwards, and after a restart.
    let root = server.stopped().await;
    let server = TestServer::builder().root(root).start().await;
    let again = server
        .get(&format!("{path}?stream=true"))
        .await
        .ok()
        .named_events();
    assert_eq!(again, all);
    let rest = server
        .get(&format!("{path}?stream=true&starting_after=7"))
        .await
        .ok()
        .named_events();
    assert_eq!(rest, all[8..]);
    // A response that has ended stays as it is.
    let cancelled = server
        .post(&format!("{path}/cancel"), &json!({}))
        .await
        .ok()
        .json();
    assert_eq!(cancelled, done);
}

#[tokio::test]
async fn a_stream_in_the_background_outlives_its_client() {
    let server = server().await;
    let mut body = streamed("[[slow 5]] [[repeat 40]]abc");
    body["background"] = json!(true);
    let begun = first_events(&server, &body, 6).await;
    let id = &begun[0]["response"]["id"];
    let path = format!("{PATH}/{}", id.as_str().unwrap());
    let rest = server
        .get(&format!("{path}?stream=true&starting_after=5"))
        .await
        .ok()
        .named_events();
    assert_eq!(rest[0]["sequence_number"], 6);
    let done = until(&server, id, "completed").await;
    assert_eq!(rest.last().unwrap()["response"], done);
    let deltas: String = [&begun[..], &rest[..]]
        .concat()
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .map(|event| event["delta"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(deltas, text(&done));
    // Only background responses can be followed or cancelled.
    let plain = server.post(PATH, &ask("x")).await.ok().json();
    let plain = format!("{PATH}/{}", plain["id"].as_str().unwrap());
    assert_eq!(
        server.get(&format!("{plain}?stream=true")).await.status,
        400
    );
    let (status, message, ..) = refused(&server.post(&format!("{plain}/cancel"), &json!({})).await);
    assert_eq!(
        (status, message.as_str()),
        (400, "Cannot cancel a synchronous response.")
    );
}

#[tokio::test]
async fn a_response_in_the_background_can_be_cancelled_or_deleted() {
    let server = TestServer::builder()
        .env("DROVER_RESPONSES_BACKGROUND", "2")
        .start()
        .await;
    let server = with_model(server).await;
    let mut body = ask("[[slow 50]] [[repeat 500]]abc");
    body["background"] = json!(true);
    let first = server.post(PATH, &body).await.ok().json();
    let second = server.post(PATH, &body).await.ok().json();
    until(&server, &first["id"], "in_progress").await;
    // One too many.
    assert_eq!(server.post(PATH, &body).await.status, 503);
    let path = format!("{PATH}/{}", first["id"].as_str().unwrap());
    for _ in 0..2 {
        let cancelled = server
            .post(&format!("{path}/cancel"), &json!({}))
            .await
            .ok()
            .json();
        assert_eq!(
            (&cancelled["status"], &cancelled["id"]),
            (&json!("cancelled"), &first["id"])
        );
    }
    let events = server
        .get(&format!("{path}?stream=true"))
        .await
        .ok()
        .named_events();
    assert_eq!(events.last().unwrap()["type"], "response.incomplete");
    let second = format!("{PATH}/{}", second["id"].as_str().unwrap());
    delete(&server, &second).await.ok();
    assert_eq!(server.get(&second).await.status, 404);
    let quick = server.post(PATH, &ask("next")).await.ok().json();
    assert_eq!(text(&quick), "next");
    assert_eq!(server.get(&second).await.status, 404);
}

#[tokio::test]
async fn a_response_in_the_background_does_not_run_for_ever_after_a_restart() {
    let server = TestServer::builder()
        .env("DROVER_GRACE", "0s")
        .start()
        .await;
    let server = with_model(server).await;
    let mut body = ask("[[slow 50]] [[repeat 500]]abc");
    body["background"] = json!(true);
    // Stopped with a signal.
    let stopped = server.post(PATH, &body).await.ok().json();
    until(&server, &stopped["id"], "in_progress").await;
    let root = server.stopped().await;
    let mut server = TestServer::builder().root(root).start().await;
    let failed = get(&server, &stopped["id"]).await.ok().json();
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("server_error"))
    );
    assert_eq!(failed["error"]["message"], "the server is shutting down");
    // Killed.
    let killed = server.post(PATH, &body).await.ok().json();
    until(&server, &killed["id"], "in_progress").await;
    server.signal(rustix::process::Signal::KILL);
    server.exit_code().await;
    let server = TestServer::builder().root(server.into_root()).start().await;
    let failed = get(&server, &killed["id"]).await.ok().json();
    let message = "the server stopped before the response was finished";
    assert_eq!(
        (&failed["status"], &failed["error"]["message"]),
        (&json!("failed"), &json!(message))
    );
    // It can be continued.
    let mut next = ask("So?");
    next["previous_response_id"] = killed["id"].clone();
    let counting = server.post("/v1/responses/input_tokens", &next);
    counting.await.ok();
}

#[tokio::test]
async fn what_is_not_to_be_stored_is_not() {
    let server = server().await;
    let mut body = ask("a secret question");
    body["store"] = json!(false);
    let response = server.post(PATH, &body).await.ok().json();
    assert_eq!(response["store"], false);
    body["stream"] = json!(true);
    server.post(PATH, &body).await.ok();
    // Nothing has needed the file so far.
    assert!(!server.root().join("state/responses.db").exists());
    assert_eq!(get(&server, &response["id"]).await.status, 404);
    body["background"] = json!(true);
    let (status, _, param, _) = refused(&server.post(PATH, &body).await);
    assert_eq!((status, param), (400, json!("background")));

    let root = server.stopped().await;
    let server = TestServer::builder()
        .root(root)
        .env("DROVER_RESPONSES_SIZE", "0")
        .start()
        .await;
    let response = server.post(PATH, &ask("another")).await.ok().json();
    assert_eq!(response["store"], false);
    assert_eq!(
        server.post("/v1/conversations", &json!({})).await.status,
        400
    );
}

#[tokio::test]
async fn a_conversation_is_made_shorter() {
    let server = server().await;
    let mut body = ask(json!([{"role": "user", "content": "a long story"}]));
    body["instructions"] = json!("Be brief.");
    let compacted = server
        .post("/v1/responses/compact", &body)
        .await
        .ok()
        .json();
    assert_eq!(compacted["object"], "response.compaction");
    assert!(compacted["usage"]["output_tokens"].as_u64() > Some(0));
    let item = &compacted["output"][0];
    assert_eq!(item["type"], "compaction");
    let input = json!([item, {"role": "user", "content": "So?"}]);
    let with = server.post(PATH, &ask(input)).await.ok().json();
    let without = server.post(PATH, &ask("So?")).await.ok().json();
    let tokens = |response: &Value| response["usage"]["input_tokens"].as_u64().unwrap();
    assert!(tokens(&with) > tokens(&without) + 40);
    // The summary is a message of the user.
    assert!(text(&with).ends_with("So?"));
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
