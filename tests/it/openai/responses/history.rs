//! Responses that go on from others, conversations, and what is stored of them.

use super::*;

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
