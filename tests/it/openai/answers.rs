//! Whole and streamed answers say the same, and a stream ends as the official clients expect.

use serde_json::{Value, json};

use crate::support::{TestServer, models};

fn joined(events: &[Value], place: &str) -> String {
    events
        .iter()
        .filter_map(|event| event.pointer(place)?.as_str())
        .collect()
}

#[tokio::test]
async fn chat_streamed_and_whole_agree() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let mut body = json!({"model": "tiny", "temperature": 0,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "One <two>."}]}]});
    let path = "/v1/chat/completions";
    let whole = server.post(path, &body).await.ok().json();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let events = server.post(path, &body).await.ok().events();

    assert_eq!(whole["choices"][0]["message"]["content"], "One <two>.");
    assert_eq!(joined(&events, "/choices/0/delta/content"), "One <two>.");
    assert_eq!(joined(&events, "/choices/0/delta/role"), "assistant");
    assert_eq!(joined(&events, "/choices/0/finish_reason"), "stop");
    let [.., finish, usage, done] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(finish["choices"][0]["delta"], json!({}));
    assert_eq!(usage["choices"], json!([]));
    for counter in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert!(whole["usage"][counter].as_u64() > Some(0), "{counter}");
        assert_eq!(usage["usage"][counter], whole["usage"][counter]);
    }
    assert_eq!(done, "[DONE]");
}

#[tokio::test]
async fn the_stop_sequence_that_ended_an_answer_is_told() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    // The client does not see the model's own stop text.
    let tagged = json!({"model": "tagged", "from": "tiny", "parameters": {"stop": ["END"]}});
    server.post("/api/create", &tagged).await.ok();
    let own = json!(["zz", "##"]);
    for (model, text, stop, reason) in [
        ("tiny", "abc##def", &own, json!("##")),
        ("tiny", "abczzdef", &own, json!("zz")),
        ("tiny", "abc", &own, Value::Null),
        ("tagged", "abcENDdef", &Value::Null, Value::Null),
        ("tagged", "abc##def", &own, json!("##")),
    ] {
        for (path, mut body) in [
            ("/v1/completions", json!({"prompt": text})),
            (
                "/v1/chat/completions",
                json!({"messages": [{"role": "user", "content": text}]}),
            ),
        ] {
            body["model"] = json!(model);
            body["stop"] = stop.clone();
            let whole = server.post(path, &body).await.ok().json();
            let choice = &whole["choices"][0];
            let said = choice
                .pointer("/message/content")
                .unwrap_or(&choice["text"]);
            assert_eq!(said, "abc", "{path} {model} {text}");
            assert_eq!(choice["finish_reason"], "stop");
            assert_eq!(choice["stop_reason"], reason, "{path} {model} {text}");
            assert_eq!(choice.get("stop_reason").is_some(), !reason.is_null());
            body["stream"] = json!(true);
            let events = server.post(path, &body).await.ok().events();
            let told = joined(&events, "/choices/0/stop_reason");
            assert_eq!(
                told,
                reason.as_str().unwrap_or_default(),
                "{path} {model} {text}"
            );
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_event() {
    // A runner that hangs has certainly sent its first tokens; one that aborts may not have.
    let server = TestServer::builder()
        .env("DROVER_RUNNER_TIMEOUT", "1s")
        .start()
        .await;
    server.fake_model("tiny").await;
    let body = json!({"model": "tiny", "stream": true,
        "messages": [{"role": "user", "content": "One two three [[hang 3]]"}]});
    let events = server
        .post("/v1/chat/completions", &body)
        .await
        .ok()
        .events();
    assert!(!joined(&events, "/choices/0/delta/content").is_empty());
    let error = &events.last().unwrap()["error"];
    assert_eq!(error["type"], "api_error");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
}

#[tokio::test]
async fn completions_have_a_choice_for_each_prompt() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let mut body = json!({"model": "tiny", "prompt": ["ab", "cd"], "temperature": 0});
    let whole = server.post("/v1/completions", &body).await.ok().json();
    assert_eq!(
        whole["choices"],
        json!([{"text": "ab", "index": 0, "finish_reason": "stop", "logprobs": null},
            {"text": "cd", "index": 1, "finish_reason": "stop", "logprobs": null}])
    );
    body["stream"] = json!(true);
    let events = server.post("/v1/completions", &body).await.ok().events();
    for (index, text) in [(0, "ab"), (1, "cd")] {
        let own: Vec<Value> = events
            .iter()
            .filter(|event| event["choices"][0]["index"] == index)
            .cloned()
            .collect();
        assert_eq!(joined(&own, "/choices/0/text"), text);
        assert_eq!(joined(&own, "/choices/0/finish_reason"), "stop");
    }
    assert_eq!(events.last().unwrap(), "[DONE]");
}

#[tokio::test]
async fn embeddings_keep_the_order_of_their_inputs() {
    let server = TestServer::start().await;
    let embedder = models::embedder().build();
    server.create("embed", embedder, json!({})).await.ok();
    let embed = async |input| super::embed(&server, input).await;
    let both = embed(json!(["one", "two"])).await;
    for (index, text) in ["one", "two"].into_iter().enumerate() {
        let single = embed(json!(text)).await;
        assert_eq!(both["data"][index]["index"], index);
        let vector = &both["data"][index]["embedding"];
        assert!(vector.as_array().is_some_and(|values| !values.is_empty()));
        assert_eq!(vector, &single["data"][0]["embedding"], "{text}");
    }
}
