//! Limits of thinking, with a real model that its template makes think.

use serde_json::{Value, json};

use super::language::TEMPLATE;
use super::real::with_model;

/// The model's name.
const MODEL: &str = "smollm2-135m";

/// `ChatML` whose answers begin inside thinking; `SmolLM2` never closes it, and would rather end its answer after it.
fn thinks_on() -> String {
    TEMPLATE.to_owned() + "<think>\n"
}

#[tokio::test]
async fn thinking_is_ended_when_its_budget_is_used_up() {
    let Some(server) = with_model(MODEL).await else {
        return;
    };
    let thinker = json!({"model": "thinker", "from": MODEL, "template": thinks_on()});
    server.post("/api/create", &thinker).await.ok();
    let question = json!([{"role": "user", "content": "Name three colours."}]);
    let chat = async |fields: Value| {
        let mut body = json!({"model": "thinker", "messages": question, "max_tokens": 40, "temperature": 0, "min_tokens": 24});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        server.post("/v1/chat/completions", &body).await.ok().json()
    };
    let n_thought = |answer: &Value| {
        answer["usage"]["completion_tokens_details"]["reasoning_tokens"]
            .as_u64()
            .unwrap()
    };
    let content = |answer: &Value| {
        let content = &answer["choices"][0]["message"]["content"];
        content.as_str().unwrap().to_owned()
    };
    let endless = chat(json!({})).await;
    assert!(
        n_thought(&endless) > 12 && content(&endless).is_empty(),
        "{endless}"
    );
    for name in [
        "thinking_budget",
        "thinking_budget_tokens",
        "thinking_token_budget",
    ] {
        let limited = chat(json!({name: 8})).await;
        // The tokens that close the thinking count as thinking.
        assert!((8..=12).contains(&n_thought(&limited)), "{limited}");
        assert!(!content(&limited).is_empty(), "{limited}");
    }
    // The constraint begins at the end of the thinking.
    let schema = json!({"type": "json_schema", "json_schema": {"schema": {"type": "object",
        "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}}});
    let held =
        chat(json!({"thinking_budget": 8, "response_format": schema, "reasoning_effort": "high"}))
            .await;
    assert!(n_thought(&held) >= 8, "{held}");
    let answer: Value = serde_json::from_str(&content(&held)).unwrap();
    assert!(answer["ok"].is_boolean(), "{held}");

    let body = json!({"model": "thinker", "messages": question, "max_tokens": 2000, "temperature": 0,
        "thinking": {"type": "enabled", "budget_tokens": 8}});
    let message = server.post("/v1/messages", &body).await.ok().json();
    let details = &message["usage"]["output_tokens_details"];
    assert!(
        (8..=12).contains(&details["thinking_tokens"].as_u64().unwrap()),
        "{message}"
    );
    assert_eq!(message["content"][0]["type"], "thinking");
}
