//! What a client stores belongs to its key: for another key it does not exist.

mod client;
mod stored;

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{create, with_keys};
use crate::support::{Drover, TestServer};
use client::{Client, NOTHING, chat_line, is_over, line, text};
use stored::{ENDLESS, RESOURCES, is_as_unknown, routes, stored, unknown};

#[tokio::test]
async fn what_another_key_stored_is_not_found_on_any_route() {
    let (server, boss) = with_keys().await;
    let keys = [create(&boss, &["ann"]).await, create(&boss, &["bob"]).await];
    let [ann, bob] = keys.each_ref().map(|key| Client::new(&server, key));
    let of = stored(&ann).await;
    let routes = routes(&of);
    for (method, path, id, rest, body) in &routes {
        let path = format!("{path}{rest}");
        let status = is_as_unknown(&bob, method, &path, id, body).await;
        assert_eq!(status, 404, "{method} {path}");
    }
    let items = format!(
        "/v1/conversations/{}/items/{{id}}",
        unknown(&of.conversation)
    );
    for method in [Method::GET, Method::DELETE] {
        // The error must be about the conversation.
        let theirs = format!("/v1/conversations/{{id}}/items/{}", of.item);
        let status = is_as_unknown(&bob, &method, &theirs, &of.conversation, &NOTHING).await;
        assert_eq!(status, 404);
        let none = bob
            .ask(method, &items.replace("{id}", &of.item), &NOTHING)
            .await;
        assert_eq!(none.status, 404);
    }
    // No route may be missing.
    let described = bob.get("/openapi.json").await;
    let mut expected: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        if RESOURCES.iter().any(|resource| path.starts_with(resource)) {
            let methods = methods.as_object().unwrap().keys();
            expected.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
        }
    }
    let mut walked: BTreeSet<(String, String)> = routes
        .iter()
        .map(|(method, path, _, rest, _)| {
            let rest = rest.split('?').next().unwrap();
            (method.to_string(), format!("{path}{rest}"))
        })
        .collect();
    for method in ["GET", "DELETE"] {
        walked.insert((
            method.to_owned(),
            "/v1/conversations/{id}/items/{item}".to_owned(),
        ));
    }
    assert_eq!(walked, expected);
    // None of this had an effect: the owner still has everything, and an administrator sees it.
    let admin = create(&boss, &["chief", "--scope", "admin"]).await;
    for client in [&ann, &Client::new(&server, &admin)] {
        for (method, path, id, rest, _) in &routes {
            if *method == Method::GET && !rest.contains("stream") {
                let path = format!("{path}{rest}").replace("{id}", id);
                let answer = client.ask(Method::GET, &path, &NOTHING).await;
                assert_eq!(answer.status, StatusCode::OK, "{path} {answer:?}");
            }
        }
        let running = client.get(&format!("/v1/responses/{}", of.running)).await;
        assert_eq!(running["status"], "in_progress");
        let path = format!("/v1/conversations/{}/items", of.conversation);
        assert_eq!(client.listed(&path).await, [of.item.clone()].into());
    }
    // An administrator can change what it sees.
    let admin = Client::new(&server, &admin);
    let path = format!("/v1/uploads/{}/complete", of.upload);
    let done = admin.post(&path, &json!({"part_ids": [of.part]})).await;
    let file = text(&done["file"]["id"]);
    ann.get(&format!("/v1/files/{file}")).await;
    let cancel = format!("/v1/responses/{}/cancel", of.running);
    assert_eq!(admin.post(&cancel, &json!({})).await["status"], "cancelled");
    for (method, path, id, rest, _) in &routes {
        if *method == Method::DELETE {
            let path = format!("{path}{rest}").replace("{id}", id);
            admin.ask(Method::DELETE, &path, &NOTHING).await.ok();
        }
    }
}

#[tokio::test]
async fn lists_pages_and_references_know_nothing_of_another_key() {
    let (server, boss) = with_keys().await;
    let keys = [create(&boss, &["ann"]).await, create(&boss, &["bob"]).await];
    let [ann, bob] = keys.each_ref().map(|key| Client::new(&server, key));
    let of = stored(&ann).await;
    // It would slow down everything that follows.
    let cancel = format!("/v1/responses/{}/cancel", of.running);
    ann.post(&cancel, &json!({})).await;
    let admin = create(&boss, &["chief", "--scope", "admin"]).await;
    let admin = Client::new(&server, &admin);
    for (path, id, after) in [
        ("/v1/files", &of.file, &["after"][..]),
        ("/v1/batches", &of.batch, &["after"]),
        (
            "/v1/messages/batches",
            &of.messages,
            &["after_id", "before_id"],
        ),
        ("/v1/chat/completions", &of.chat, &["after"]),
    ] {
        assert!(bob.listed(path).await.is_empty(), "{path}");
        assert!(ann.listed(path).await.contains(id), "{path}");
        assert!(admin.listed(path).await.contains(id), "{path}");
        for after in after {
            let path = format!("{path}?{after}={{id}}");
            let status = is_as_unknown(&bob, &Method::GET, &path, id, &NOTHING).await;
            assert!([400, 404].contains(&status), "{path} {status}");
        }
    }
    let request = |field: &str| json!({"model": "tiny", "input": "x", field: "{id}"});
    let item = json!({"type": "item_reference", "id": "{id}"});
    let reference = json!({"model": "tiny", "input": [item]});
    for (id, body, expected) in [
        (&of.response, request("previous_response_id"), 400),
        (&of.conversation, request("conversation"), 404),
        (&of.item, reference, 404),
    ] {
        for path in [
            "/v1/responses",
            "/v1/responses/input_tokens",
            "/v1/responses/compact",
        ] {
            if path.ends_with("compact") && body.get("conversation").is_some() {
                continue;
            }
            let status = is_as_unknown(&bob, &Method::POST, path, id, &body).await;
            assert_eq!(status, expected, "{path} {body}");
            let body = body.to_string().replace("{id}", id);
            ann.post(path, &serde_json::from_str(&body).unwrap()).await;
        }
    }
    // A job over another key's file fails like one over a missing file.
    let mut faults = Vec::new();
    for file in [of.file.clone(), unknown(&of.file)] {
        let batch = bob.batch(&file, "/v1/chat/completions").await;
        let errors = bob.ended(&batch).await["errors"].to_string();
        faults.push(errors.replace(&file, "ID"));
    }
    assert_eq!(faults[0], faults[1]);
    assert!(faults[0].contains("Cannot find file ID"), "{faults:?}");
    // The requests of a job can refer to what its owner sees.
    let body = json!({"model": "tiny", "input": "x", "previous_response_id": of.response});
    for (client, completed) in [(&bob, 0), (&ann, 1)] {
        let file = client.file(&line("a", "/v1/responses", &body)).await;
        let batch = client.batch(&text(&file["id"]), "/v1/responses").await;
        let batch = client.ended(&batch).await;
        assert_eq!(batch["request_counts"]["completed"], completed, "{batch}");
    }
}

#[tokio::test]
async fn a_key_sees_its_own_jobs_at_work_and_those_of_a_revoked_key_stop() {
    let (server, boss) = with_keys().await;
    let scopes = ["--scope", "inference,metrics"];
    let ann_key = create(&boss, &[&["ann"], &scopes[..]].concat()).await;
    let bob_key = create(&boss, &[&["bob"], &scopes[..]].concat()).await;
    let chief_key = create(&boss, &["chief", "--scope", "admin"]).await;
    let [ann, bob, chief] = [&ann_key, &bob_key, &chief_key].map(|key| Client::new(&server, key));
    let lines = chat_line("a", "one") + &chat_line("b", ENDLESS) + &chat_line("c", ENDLESS);
    let file = text(&ann.file(&lines).await["id"]);
    let batch = ann.batch(&file, "/v1/chat/completions").await;
    let id = text(&batch["id"]);
    let path = format!("/v1/batches/{id}");
    let body = json!({"model": "tiny", "input": ENDLESS, "background": true});
    let response = text(&ann.post("/v1/responses", &body).await["id"]);
    ann.until(&path, |batch| batch["request_counts"]["completed"] == 1)
        .await;
    for (client, sees) in [(&ann, true), (&bob, false), (&chief, true)] {
        let ps = client.get("/api/ps").await;
        let jobs = ps["batches"].as_array().map_or(0, Vec::len);
        assert_eq!(jobs, usize::from(sees), "{ps}");
        let url = format!("{}/api/drover/events", server.url);
        let events = server.http.get(url).bearer_auth(client.key).send();
        let event = events.await.unwrap().chunk().await.unwrap().unwrap();
        let event = String::from_utf8_lossy(&event).into_owned();
        assert_eq!(event.contains(&id), sees, "{event}");
        let drover = Drover::of(&server).env("OLLAMA_API_KEY", client.key);
        let list = drover.run(&["batch", "list"]).await.ok();
        assert_eq!(list.contains(&id), sees, "{list}");
        for command in ["show", "cancel"] {
            if !sees {
                let error = drover.run(&["batch", command, &id]).await.failed();
                assert!(error.contains("No batch found"), "{error}");
            }
        }
    }
    boss.run(&["key", "revoke", "ann"]).await.ok();
    let batch = chief.until(&path, is_over).await;
    assert_eq!(batch["status"], "cancelled");
    assert_eq!(batch["errors"]["data"][0]["code"], "invalid_api_key");
    let counts = json!({"total": 3, "completed": 1, "failed": 0});
    assert_eq!(batch["request_counts"], counts);
    let output = format!("/v1/files/{}/content", text(&batch["output_file_id"]));
    let output = chief.get(&output).await;
    assert_eq!(output["custom_id"], "a");
    let path = format!("/v1/responses/{response}");
    chief
        .until(&path, |response| response["status"] == "cancelled")
        .await;
    // A new key with that name is another key.
    let again = create(&boss, &["ann"]).await;
    let again = Client::new(&server, &again);
    assert_eq!(again.ask(Method::GET, &path, &NOTHING).await.status, 404);
    assert!(again.listed("/v1/files").await.is_empty());
}

#[tokio::test]
async fn what_was_stored_before_the_first_key_is_seen_without_one_and_by_administrators() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let nobody = Client::new(&server, "");
    let of = stored(&nobody).await;
    let drover = Drover::of(&server);
    let one = create(&drover, &["one"]).await;
    let boss = create(&drover, &["boss", "--scope", "admin"]).await;
    let [one, boss] = [&one, &boss].map(|key| Client::new(&server, key));
    for (path, id) in [
        ("/v1/files", &of.file),
        ("/v1/batches", &of.batch),
        ("/v1/messages/batches", &of.messages),
        ("/v1/chat/completions", &of.chat),
        ("/v1/responses", &of.response),
        ("/v1/conversations", &of.conversation),
    ] {
        let path = format!("{path}/{id}");
        assert_eq!(one.ask(Method::GET, &path, &NOTHING).await.status, 404);
        nobody.get(&path).await;
        boss.get(&path).await;
    }
    // A program on this machine sees what keys store, too.
    let file = text(&one.file(&chat_line("a", "one")).await["id"]);
    nobody.get(&format!("/v1/files/{file}")).await;
}
