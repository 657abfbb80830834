//! `/v1/files` and `/v1/uploads` over a socket.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Answer, TestServer};

/// The names in the files folder.
fn names(server: &TestServer) -> Vec<String> {
    let Ok(entries) = fs_err::read_dir(server.root().join("state/files")) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// Waits until the files folder has `n` files.
async fn until_there_are(server: &TestServer, n: usize) {
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while names(server).len() != n {
            tick.tick().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(waited.is_ok(), "{:?}", names(server));
}

async fn upload(server: &TestServer, name: &str, purpose: &str, content: &[u8]) -> Answer {
    let fields = [
        ("purpose", None, purpose.as_bytes()),
        ("file", Some(name), content),
    ];
    server.post_form("/v1/files", &fields).await
}

fn error(message: &str, param: Value, code: Value) -> Value {
    json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}})
}

#[tokio::test]
async fn a_file_comes_back_byte_by_byte() {
    let server = TestServer::start().await;
    assert!(!server.root().join("state/jobs.db").exists());
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let file = upload(&server, "all.bin", "user_data", &content)
        .await
        .ok()
        .json();
    let id = file["id"].as_str().unwrap();
    assert!(id.starts_with("file-"), "{file}");
    assert_eq!(
        (
            &file["object"],
            &file["bytes"],
            &file["filename"],
            &file["purpose"],
            &file["status"]
        ),
        (
            &json!("file"),
            &json!(3_000_000),
            &json!("all.bin"),
            &json!("user_data"),
            &json!("processed")
        )
    );
    let path = format!("/v1/files/{id}");
    assert_eq!(server.get(&path).await.ok().json(), file);
    let url = format!("{}{path}/content", server.url);
    let answer = server.http.get(url).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert_eq!(answer.headers()["content-length"], "3000000");
    assert_eq!(answer.bytes().await.unwrap(), content);
    server
        .log
        .wait_for("a whole answer", |line| {
            line.contains("/content 200 id=").then_some(())
        })
        .await;
    // It is still there after a restart.
    let root = server.stopped().await;
    let server = TestServer::builder().root(root).start().await;
    assert_eq!(server.get(&path).await.ok().json(), file);
    let gone = server.request(Method::DELETE, &path, Vec::new()).await;
    assert_eq!(
        gone.ok().json(),
        json!({"id": id, "object": "file", "deleted": true})
    );
    assert_eq!(names(&server), Vec::<String>::new());
    let unknown = error(
        &format!("No such File object: {id}"),
        json!("id"),
        Value::Null,
    );
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/content")),
        (Method::DELETE, path),
    ] {
        let answer = server.request(method, &path, Vec::new()).await;
        assert_eq!((answer.status, answer.json()), (404, unknown.clone()));
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_and_nothing_is_kept() {
    let server = TestServer::builder()
        .env("DROVER_BATCH_DISK", "1000")
        .start()
        .await;
    let large = [b'x'; 1001];
    let purposes = "Invalid value: 'best'. Supported values are: 'assistants', 'batch', 'fine-tune', \
                    'vision', 'user_data', 'evals'.";
    let cases: [(&str, &str, &[u8], u16, Value); 4] = [
        (
            "a.txt",
            "best",
            b"x",
            400,
            error(purposes, json!("purpose"), json!("invalid_value")),
        ),
        (
            "a.txt",
            "batch",
            b"x",
            400,
            error(
                "Invalid file format for Batch API. Must be .jsonl",
                json!("file"),
                json!("invalid_file_format"),
            ),
        ),
        (
            "a.jsonl",
            "batch",
            b"",
            400,
            error(
                "Invalid file format for Batch API. The file is empty.",
                json!("file"),
                json!("invalid_file_format"),
            ),
        ),
        (
            "a.txt",
            "evals",
            &large,
            413,
            error(
                "All files together may take 1 KB (DROVER_BATCH_DISK): delete some.",
                Value::Null,
                json!("storage_limit_exceeded"),
            ),
        ),
    ];
    for (name, purpose, content, status, expected) in cases {
        let answer = upload(&server, name, purpose, content).await;
        assert_eq!((answer.status, answer.json()), (status, expected));
    }
    for (fields, missing) in [
        (vec![("purpose", None, &b"evals"[..])], "file"),
        (vec![("file", Some("a"), &b"x"[..])], "purpose"),
        (
            vec![("purpose", None, &b"evals"[..]), ("file", None, &b"x"[..])],
            "file",
        ),
    ] {
        let answer = server.post_form("/v1/files", &fields).await;
        let message = format!("'{missing}' is a required property");
        let expected = error(
            &message,
            json!(missing),
            json!("missing_required_parameter"),
        );
        assert_eq!((answer.status, answer.json()), (400, expected));
    }
    let no_form = server.post("/v1/files", &json!({"purpose": "batch"})).await;
    assert_eq!(no_form.status, 400, "{}", no_form.text);
    let order = server.get("/v1/files?order=up").await;
    assert_eq!(order.json()["error"]["param"], "order");
    let after = server.get("/v1/files?after=file-x").await;
    assert_eq!(after.status, 404);
    until_there_are(&server, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing() {
    let server = TestServer::start().await;
    for is_chunked in [false, true] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let length = if is_chunked {
            "transfer-encoding: chunked"
        } else {
            "content-length: 100000000"
        };
        let head = format!(
            "POST /v1/files HTTP/1.1\r\nhost: localhost\r\n{length}\r\n\
             content-type: multipart/form-data; boundary=X\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let part = "--X\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
        let piece = part.to_owned() + &"y".repeat(1_000_000);
        let piece = if is_chunked {
            format!("{:x}\r\n{piece}\r\n", piece.len())
        } else {
            piece
        };
        stream.write_all(piece.as_bytes()).await.unwrap();
        until_there_are(&server, 1).await;
        drop(stream);
        until_there_are(&server, 0).await;
    }
}

#[tokio::test]
async fn a_kill_in_the_middle_leaves_nothing_after_the_next_start() {
    let mut server = TestServer::start().await;
    let kept = upload(&server, "a", "evals", b"kept").await.ok().json();
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = "POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\
                content-type: multipart/form-data; boundary=X\r\n\r\n\
                --X\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nhalf of it";
    stream.write_all(head.as_bytes()).await.unwrap();
    until_there_are(&server, 2).await;
    server.signal(rustix::process::Signal::KILL);
    assert_eq!(server.exit_code().await, None);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let server = TestServer::builder().root(server.into_root()).start().await;
    assert_eq!(names(&server), [kept["id"].as_str().unwrap()]);
}
