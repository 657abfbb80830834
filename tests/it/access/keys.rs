//! Keys from the command line, over real sockets.

use reqwest::Method;
use serde_json::{Value, json};

use super::{create, question, send, with_keys};
use crate::support::{Drover, TestServer};

#[tokio::test]
async fn keys_are_made_listed_and_revoked_on_the_command_line() {
    let (server, boss) = with_keys().await;
    let stranger = Drover::of(&server);
    let error = stranger.run(&["list"]).await.failed();
    assert!(error.contains("needs an API key"), "{error}");
    // A container's health check has no key.
    assert_eq!(stranger.run(&["health"]).await.ok(), "ok\n");
    let error = Drover::at("127.0.0.1:1").run(&["health"]).await.failed();
    assert!(error.contains("no daemon answers"), "{error}");
    let args = [
        "ci",
        "--models",
        "tiny,team/*",
        "--limit",
        "requests=2,tokens=500",
        "--expires",
        "90d",
    ];
    let key = create(&boss, &args).await;
    let ci = Drover::of(&server).env("OLLAMA_API_KEY", &key);
    assert!(ci.run(&["list"]).await.ok().contains("tiny"));
    let error = ci.run(&["rm", "tiny"]).await.failed();
    assert!(error.contains("needs the scope `models`"), "{error}");
    let error = ci.run(&["key", "list"]).await.failed();
    assert!(error.contains("needs the scope `admin`"), "{error}");
    let list = boss.run(&["key", "list"]).await.ok();
    let line = list.lines().find(|line| line.starts_with("ci ")).unwrap();
    for word in [
        "inference",
        "tiny,team/*",
        "requests=2,tokens=500",
        "from now",
        "ago",
    ] {
        assert!(line.contains(word), "{word}: {list}");
    }
    assert!(!list.contains(&key), "{list}");
    let list = boss.run(&["key", "list", "--json"]).await.ok();
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        list["keys"][1]["limits"],
        json!({"requests": 2, "tokens": 500})
    );
    let error = boss.run(&["key", "create", "ci"]).await.failed();
    assert!(error.contains("there is a key `ci` already"), "{error}");
    boss.run(&["key", "revoke", "ci"]).await.ok();
    let error = ci.run(&["list"]).await.failed();
    assert!(error.contains("was revoked"), "{error}");
    let error = boss.run(&["key", "revoke", "boss"]).await.failed();
    assert!(error.contains("is the last key"), "{error}");
    boss.run(&["key", "revoke", "boss", "--last"]).await.ok();
    stranger.run(&["list"]).await.ok();
}

#[tokio::test]
async fn a_file_of_keys_is_taken_over_while_the_daemon_runs() {
    let (server, boss) = with_keys().await;
    let file = server.root().join("state/keys.json");
    let file = file.to_str().unwrap();
    // Somebody who has lost all keys but has access to the machine; the daemon is not asked.
    let nowhere = Drover::at("127.0.0.1:1");
    let second = create(&nowhere, &["second", "--file", file]).await;
    server
        .log
        .wait_for("the change", |line| {
            line.contains("file of keys has changed").then_some(())
        })
        .await;
    let tags = send(&server, &second, Method::GET, "/api/tags", &Value::Null).await;
    assert_eq!(tags.status(), 200);
    let list = boss.run(&["key", "list"]).await.ok();
    assert!(list.contains("second") && list.contains("boss"), "{list}");
}

#[tokio::test]
async fn keys_outlive_the_daemon_and_a_broken_file_stops_its_start() {
    let (server, boss) = with_keys().await;
    let key = create(&boss, &["one"]).await;
    let root = server.stopped().await;
    let file = root.path().join("state/keys.json");
    let server = TestServer::builder()
        .env("DROVER_KEYS_LOOPBACK", "required")
        .root(root)
        .start()
        .await;
    let tags = send(&server, &key, Method::GET, "/api/tags", &Value::Null).await;
    assert_eq!(tags.status(), 200);
    let root = server.stopped().await;
    fs_err::write(&file, "{").unwrap();
    let mut command = crate::support::hermetic(crate::support::program(), root.path());
    let output = command
        .arg("serve")
        .env("OLLAMA_HOST", "127.0.0.1:0")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && error.contains("keys.json"),
        "{error}"
    );
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_in_a_running_connection() {
    let (server, boss) = with_keys().await;
    let key = create(&boss, &["one"]).await;
    let request =
        format!("GET /api/tags HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n");
    let mut socket = server.socket(request.as_bytes()).await;
    let answer = socket.read_until("tiny").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // An answer in progress breaks off.
    let body = question("[[slow 20]] [[repeat 200000]]")
        .to_string()
        .replace("false", "true");
    let head = format!(
        "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = server.socket(format!("{head}{body}").as_bytes()).await;
    stream.read_until("\"content\"").await;
    boss.run(&["key", "revoke", "one"]).await.ok();
    socket.send(request.as_bytes()).await;
    let answer = socket.read_until("}").await;
    assert!(answer.contains("HTTP/1.1 401 "), "{answer}");
    // The connection can still be used.
    socket
        .send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert!(socket.read_until("ok").await.contains("200 OK"));
    let rest = stream.rest().await;
    assert!(!rest.contains("\"done\":true"), "{rest}");
    server
        .log
        .wait_for("the end", |line| line.contains("/api/chat").then_some(()))
        .await;
}

#[tokio::test]
async fn the_warning_about_an_open_server_goes_with_the_first_key() {
    let server = TestServer::builder()
        .env("OLLAMA_HOST", "0.0.0.0:0")
        .start()
        .await;
    server
        .log
        .wait_for("the warning", |line| {
            line.contains("drover key create").then_some(())
        })
        .await;
    Drover::of(&server)
        .run(&["key", "create", "one"])
        .await
        .ok();
    let root = server.stopped().await;
    let server = TestServer::builder()
        .env("OLLAMA_HOST", "0.0.0.0:0")
        .root(root)
        .start()
        .await;
    server.get("/api/tags").await.ok();
    assert!(!server.log.text().contains("drover key create"));
}

#[tokio::test]
async fn official_clients_headers_are_keys_and_proxies_say_who_asks() {
    let server = TestServer::builder()
        .env("DROVER_TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    server.fake_model("tiny").await;
    let key = create(&Drover::of(&server), &["one"]).await;
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = server.http.get(format!("{}/api/tags", server.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(&[]).await, 200);
    let elsewhere = ("x-forwarded-for", "203.0.113.9");
    assert_eq!(ask(&[elsewhere]).await, 401);
    let bearer = format!("Bearer {key}");
    for header in [
        ("authorization", bearer.as_str()),
        ("x-api-key", &key),
        ("api-key", &key),
    ] {
        assert_eq!(ask(&[elsewhere, header]).await, 200, "{header:?}");
    }
}

#[tokio::test]
async fn a_key_sees_the_chats_that_it_stored() {
    let (server, boss) = with_keys().await;
    let ann = create(&boss, &["ann"]).await;
    let bob = create(&boss, &["bob"]).await;
    let path = "/v1/chat/completions";
    let mut body = question("tiny");
    body["store"] = true.into();
    let told = send(&server, &ann, Method::POST, path, &body).await;
    let told: Value = told.json().await.unwrap();
    let chat = format!("{path}/{}", told["id"].as_str().unwrap());
    let messages = format!("{chat}/messages");
    let ids = async |key: &str| {
        let list = send(&server, key, Method::GET, path, &Value::Null).await;
        let list: Value = list.json().await.unwrap();
        let chats = list["data"].as_array().unwrap().iter();
        chats.map(|chat| chat["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&ann).await, [told["id"].clone()]);
    assert!(ids(&bob).await.is_empty());
    for (method, path) in [
        (Method::GET, &chat),
        (Method::POST, &chat),
        (Method::DELETE, &chat),
        (Method::GET, &messages),
    ] {
        let answer = send(&server, &bob, method, path, &json!({})).await;
        assert_eq!(answer.status(), 404);
    }
    // An administrator sees all.
    let admin = create(&boss, &["chief", "--scope", "admin"]).await;
    assert_eq!(ids(&admin).await, [told["id"].clone()]);
    let answer = send(&server, &ann, Method::GET, &messages, &Value::Null).await;
    assert_eq!(answer.status(), 200);
    // A new key with the same name is another key.
    boss.run(&["key", "revoke", "ann"]).await.ok();
    let other = create(&boss, &["ann"]).await;
    assert!(ids(&other).await.is_empty());
}
