//! Tools: calls, results, choices, tools that are loaded later.

use serde_json::{Value, json};

use super::{MESSAGES, answer, body, server};
use crate::support::TestServer;

const CALL: &str =
    r#"[[say <tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>]]"#;

fn weather() -> Value {
    json!({"name": "weather", "description": "What the sky does", "input_schema": {
        "type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}})
}

fn with_tools(text: &str, tools: Value) -> Value {
    let mut body = body(text);
    body["tools"] = tools;
    body
}

#[tokio::test]
async fn calls_are_blocks_after_the_text() {
    let server = server().await;
    let text = format!("[[say I look.{}", CALL.trim_start_matches("[[say "));
    let message = answer(&server, &with_tools(&text, json!([weather()]))).await;
    let [said, call] = &message["content"].as_array().unwrap()[..] else {
        panic!("{message}");
    };
    assert_eq!(said["text"], "I look.");
    assert_eq!(call["type"], "tool_use");
    assert_eq!(call["name"], "weather");
    assert_eq!(call["input"], json!({"city": "Ulm"}));
    assert_eq!(message["stop_reason"], "tool_use");
}

#[tokio::test]
async fn a_result_comes_before_the_text_of_its_message_and_tells_failures() {
    let server = server().await;
    let result = |is_error: bool| {
        let call =
            json!({"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Ulm"}});
        let content = json!([{"type": "text", "text": "No such city."}]);
        let result = json!({"type": "tool_result", "tool_use_id": "t1", "content": content, "is_error": is_error});
        let mut body = with_tools("Weather?", json!([weather()]));
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "assistant", "content": [call]}));
        messages.push(json!({"role": "user", "content": [result]}));
        body
    };
    let length = async |body: Value| {
        let counted = server.post("/v1/messages/count_tokens", &body).await.ok();
        counted.json()["input_tokens"].as_u64().unwrap()
    };
    let (fine, failed) = (length(result(false)).await, length(result(true)).await);
    assert!(failed > fine, "the model does not see that it failed");
    let mut asked = result(false);
    let content = asked["messages"][2]["content"].as_array_mut().unwrap();
    content.insert(0, json!({"type": "text", "text": "So what?"}));
    // The fake model repeats the last turn of the user.
    assert_eq!(
        answer(&server, &asked).await["content"][0]["text"],
        "So what?"
    );
}

/// How many tokens of the prompt come from the tools.
async fn n_tool_tokens(server: &TestServer, tools: Value, choice: Value) -> u64 {
    let count = async |body: &Value| {
        let counted = server.post("/v1/messages/count_tokens", body).await.ok();
        counted.json()["input_tokens"].as_u64().unwrap()
    };
    let mut body = with_tools("Hi", tools);
    if !choice.is_null() {
        body["tool_choice"] = choice;
    }
    count(&body).await - count(&super::body("Hi")).await
}

#[tokio::test]
async fn the_choice_decides_what_the_model_gets() {
    let server = server().await;
    let mut other = weather();
    other["name"] = "other".into();
    let both = json!([weather(), other]);
    let one = n_tool_tokens(&server, json!([weather()]), Value::Null).await;
    let all = n_tool_tokens(&server, both.clone(), json!({"type": "auto"})).await;
    assert!(all > one);
    assert_eq!(
        n_tool_tokens(&server, both.clone(), json!({"type": "none"})).await,
        0
    );
    let named = json!({"type": "tool", "name": "weather"});
    assert_eq!(n_tool_tokens(&server, both.clone(), named).await, one);
    // Tools that only Anthropic can describe or run are skipped.
    let mut more = both.as_array().unwrap().clone();
    more.push(json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 5}));
    more.push(json!({"type": "bash_20250124", "name": "bash"}));
    assert_eq!(n_tool_tokens(&server, more.into(), Value::Null).await, all);
}

#[tokio::test]
async fn tools_are_loaded_when_a_result_names_them() {
    let server = server().await;
    let mut later = weather();
    later["name"] = "later".into();
    later["defer_loading"] = true.into();
    let tools = json!([weather(), later]);
    let one = n_tool_tokens(&server, json!([weather()]), Value::Null).await;
    assert_eq!(
        n_tool_tokens(&server, tools.clone(), Value::Null).await,
        one
    );
    // If there are no other tools, it is present at once: nothing could load it.
    assert!(n_tool_tokens(&server, json!([tools[1]]), Value::Null).await > 0);
    let request = |reference: &str| {
        let mut body = with_tools("Hi", tools.clone());
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "assistant", "content": [
            {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}]}));
        messages.push(
            json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1",
            "content": [{"type": "tool_reference", "tool_name": reference}]}]}),
        );
        body
    };
    let path = "/v1/messages/count_tokens";
    let count =
        async |body: Value| server.post(path, &body).await.ok().json()["input_tokens"].as_u64();
    assert!(count(request("later")).await > count(request("wrong")).await);
}

#[tokio::test]
async fn a_forced_call_is_one_and_several_can_be_forbidden() {
    let server = server().await;
    let call = CALL.trim_start_matches("[[say ").trim_end_matches("]]");
    let mut request = with_tools(&format!("[[say {call}{call}]]"), json!([weather()]));
    let n_calls = async |body: &Value| {
        answer(&server, body).await["content"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(n_calls(&request).await, 2);
    request["tool_choice"] = json!({"type": "auto", "disable_parallel_tool_use": true});
    assert_eq!(n_calls(&request).await, 1);
    for (choice, field) in [
        (
            json!({"type": "tool", "name": "nobody"}),
            "tool_choice.name",
        ),
        (json!({"type": "some"}), "tool_choice.type"),
    ] {
        request["tool_choice"] = choice;
        let refused = server.post(MESSAGES, &request).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text.contains(field), "{}", refused.text);
    }
}
