//! Responses in the background: fetched, followed, cancelled, deleted.

use super::*;

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
