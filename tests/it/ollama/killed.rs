//! A daemon that is killed while it makes, copies and deletes models.

use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{TestServer, check_store, models};

const KILLS: u64 = 25;
/// The longest time before a kill; a round of requests takes about as long.
const LONGEST_US: u64 = 30_000;

#[tokio::test]
async fn the_store_is_whole_whenever_the_daemon_is_killed() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut root = TempDir::new().unwrap();
    for round in 0..KILLS {
        let mut server = TestServer::builder().root(root).start().await;
        let work = async {
            for step in 0.. {
                change(&server, &format!("m{}", step % 3), round * 1000 + step).await;
            }
        };
        let killed = tokio::time::sleep(Duration::from_micros(rng.u64(..LONGEST_US)));
        tokio::select! {
            () = work => {}
            // An arbitrary moment.
            () = killed => {}
        }
        server.signal(Signal::KILL);
        server.exit_code().await;
        root = server.into_root();
        check_store(&root.path().join("models"));
    }
    let server = TestServer::builder().root(root).start().await;
    for name in ["m0", "m1", "m2"] {
        server.fake_model(name).await;
        let question = json!({"model": name, "prompt": "hello", "stream": false});
        let answer = server.post("/api/generate", &question).await.ok();
        assert_eq!(answer.json()["response"], "hello");
        let body = json!({"model": name}).to_string().into_bytes();
        server
            .request(Method::DELETE, "/api/delete", body)
            .await
            .ok();
    }
    check_store(&server.store());
}

/// Makes a new model, copies it over another and deletes that one. The daemon may die at any point, so errors are
/// ignored.
async fn change(server: &TestServer, name: &str, salt: u64) {
    let file = models::fake().value("general.description", salt.to_string());
    let file = file.build();
    let digest = models::digest(&file);
    let create = json!({
        "model": name,
        "files": {"a.gguf": digest},
        "system": format!("Number {salt}."),
        "stream": false,
    });
    let copy = json!({"source": name, "destination": "copy"});
    let delete = json!({"model": "copy"});
    for (method, path, body) in [
        (Method::POST, format!("/api/blobs/{digest}"), file),
        (
            Method::POST,
            "/api/create".to_owned(),
            create.to_string().into_bytes(),
        ),
        (
            Method::POST,
            "/api/copy".to_owned(),
            copy.to_string().into_bytes(),
        ),
        (
            Method::DELETE,
            "/api/delete".to_owned(),
            delete.to_string().into_bytes(),
        ),
    ] {
        let url = format!("{}{path}", server.url);
        let _ = server.http.request(method, url).body(body).send().await;
    }
}
