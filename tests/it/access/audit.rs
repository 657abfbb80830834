//! The audit log: who changed what.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{create, send, with_keys};
use crate::support::TestServer;

/// Waits until the audit log has so many lines.
async fn lines(server: &TestServer, n: usize) -> Vec<Value> {
    let path = server.root().join("state/audit.jsonl");
    let read = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            let text = fs_err::read_to_string(&path).unwrap_or_default();
            if text.lines().count() >= n {
                return text;
            }
        }
    };
    let text = tokio::time::timeout(Duration::from_secs(20), read).await;
    let text = text.unwrap_or_else(|_| fs_err::read_to_string(&path).unwrap_or_default());
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut lines: Vec<Value> = lines.collect();
    // Lines are written when the answers end.
    let begun = |line: &Value| {
        line["time"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    lines.sort_by_key(begun);
    assert_eq!(lines.len(), n, "{text}");
    lines
}

#[tokio::test]
async fn what_administrators_do_is_on_record() {
    let (server, boss) = with_keys().await;
    // The upload and the creation of the model, and the first key.
    let first = lines(&server, 3).await;
    assert_eq!(first[1]["path"], "/api/create");
    assert_eq!(
        (&first[1]["by"], &first[1]["objects"]),
        (&"-".into(), &json!(["tiny:latest"]))
    );
    let key = create(&boss, &["ops", "--scope", "models,inference"]).await;
    let copy = json!({"source": "tiny", "destination": "other"});
    send(&server, &key, Method::POST, "/api/copy", &copy).await;
    let delete = json!({"model": "missing"});
    send(&server, &key, Method::DELETE, "/api/delete", &delete).await;
    // A failure after the answer has begun.
    let pull = json!({"model": "http://127.0.0.1:1/a/b", "insecure": true});
    let pulled = send(&server, &key, Method::POST, "/api/pull", &pull).await;
    pulled.text().await.unwrap();
    // Requests that change nothing are not logged, nor are requests without a valid key.
    send(&server, &key, Method::GET, "/api/tags", &Value::Null).await;
    send(
        &server,
        "drover_wrong",
        Method::DELETE,
        "/api/delete",
        &delete,
    )
    .await;
    // An attempt beyond a key's scope is logged.
    send(
        &server,
        &key,
        Method::POST,
        "/api/keys",
        &json!({"name": "x"}),
    )
    .await;
    boss.run(&["key", "revoke", "ops"]).await.ok();
    let all = lines(&server, 9).await;
    let told = |at: usize| {
        let line: &Value = &all[at];
        (
            line["by"].as_str().unwrap(),
            line["path"].as_str().unwrap(),
            line["status"].as_u64().unwrap(),
        )
    };
    assert_eq!(told(3), ("boss", "/api/keys", 201));
    assert_eq!(told(4), ("ops", "/api/copy", 200));
    assert_eq!(all[4]["objects"], json!(["tiny:latest", "other:latest"]));
    assert_eq!(all[4]["address"], "127.0.0.1");
    assert_eq!(told(5), ("ops", "/api/delete", 404));
    assert_eq!((told(6).0, told(6).1), ("ops", "/api/pull"));
    assert!(
        told(6).2 != 200 || all[6]["error"].is_string(),
        "{}",
        all[6]
    );
    assert_eq!(told(7), ("ops", "/api/keys", 403));
    assert_eq!(told(8), ("boss", "/api/keys/{name}", 200));
    assert_eq!(all[8]["objects"], json!(["ops"]));
    let text = fs_err::read_to_string(server.root().join("state/audit.jsonl")).unwrap();
    assert!(!text.contains("drover_"), "{text}");
}
