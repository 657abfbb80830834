//! Clients that take resources and time: clients that send slowly, read nothing or hold a lock do not keep others from
//! being served.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::support::{Socket, TestServer, models};

/// More than the number of threads for blocking work.
const MANY: usize = 520;

/// The longest delay that a crowd may cause for others, on a busy machine.
const PROMPT: Duration = Duration::from_secs(5);

/// A daemon with a short client timeout.
async fn impatient(timeout: &str) -> TestServer {
    let builder = TestServer::builder().env("DROVER_CLIENT_TIMEOUT", timeout);
    builder.start().await
}

/// Fails unless models are listed promptly.
async fn is_served(server: &TestServer) {
    let started = Instant::now();
    server.get("/api/tags").await.ok();
    assert!(started.elapsed() < PROMPT, "{:?}", started.elapsed());
}

fn request(path: &str, n_bytes: usize, body: &str) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {n_bytes}\r\n");
    format!("{head}\r\n{body}").into_bytes()
}

/// A generation of 40 seconds and more.
fn endless() -> String {
    json!({"model": "tiny", "prompt": "[[slow 20]] [[repeat 200000]]"}).to_string()
}

#[tokio::test]
async fn uploads_that_stall_take_nothing_from_others() {
    let server = impatient("4s").await;
    let uploads = (0..MANY).map(|number| {
        let digest = models::digest(&number.to_le_bytes());
        let upload = request(&format!("/api/blobs/{digest}"), 1_000_000, "x");
        let server = &server;
        async move { server.socket(&upload).await }
    });
    let uploads = join_all(uploads).await;
    is_served(&server).await;
    let digest = server.upload(vec![b'y'; 300_000]).await;
    for answer in join_all(uploads.into_iter().map(Socket::rest)).await {
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    // An upload that has sent more has a file by then, which is removed.
    let upload = "x".repeat(300_000);
    let path = format!("/api/blobs/{}", models::digest(b"?"));
    let answer = server.socket(&request(&path, 1_000_000, &upload)).await;
    assert!(answer.rest().await.starts_with("HTTP/1.1 408 "));
    let gone = async {
        let blobs = || fs_err::read_dir(server.store().join("blobs")).unwrap();
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while blobs().count() > 1 {
            tick.tick().await;
        }
    };
    tokio::time::timeout(PROMPT, gone).await.expect("one blob");
    assert_eq!(server.upload(vec![b'y'; 300_000]).await, digest);
}

#[tokio::test]
async fn a_foreign_lock_holds_up_only_what_needs_it() {
    let server = TestServer::start().await;
    let folder = fs_err::File::open(server.store().join("blobs")).unwrap();
    flock(&folder, FlockOperation::LockExclusive).unwrap();
    let deletions = (0..MANY).map(|number| {
        let body = json!({"model": format!("model{number}")}).to_string();
        let line = "DELETE /api/delete HTTP/1.1\r\nHost: localhost\r\n";
        let deletion = format!("{line}Content-Length: {}\r\n\r\n{body}", body.len());
        let server = &server;
        async move { server.socket(deletion.as_bytes()).await }
    });
    let mut deletions = join_all(deletions).await;
    is_served(&server).await;
    server.upload(vec![b'y'; 300_000]).await;
    drop(folder);
    let answers = deletions
        .iter_mut()
        .map(|socket| socket.read_until("\r\n\r\n"));
    for answer in join_all(answers).await {
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
}

#[tokio::test]
async fn requests_that_do_not_arrive_are_given_up() {
    let server = impatient("1s").await;
    let mut patient = server
        .socket(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    patient.read_until("}").await;
    let beginnings: [&[u8]; 4] = [
        b"",
        b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nX-A: ",
        b"PRI * HTTP/2.0\r\n\r\nS",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ];
    let crowd = beginnings.iter().flat_map(|beginning| [beginning; 50]);
    let crowd = join_all(crowd.map(|beginning| server.socket(beginning))).await;
    is_served(&server).await;
    let mut heads = server
        .socket(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        .await;
    let mut body = server.socket(&request("/api/chat", 50_000, "{")).await;
    let every = Duration::from_millis(100);
    tokio::join!(
        heads.trickle(b"X-A: b\r\n", every),
        body.trickle(b" ", every),
        join_all(crowd.into_iter().map(Socket::rest))
    );
    // A client that has sent a request may send another.
    patient
        .send(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    patient.read_until("}").await;
}

#[tokio::test]
async fn readers_that_do_not_read_lose_their_slots() {
    let builder = TestServer::builder().env("OLLAMA_NUM_PARALLEL", "2");
    let server = builder.env("DROVER_CLIENT_TIMEOUT", "1s").start().await;
    server.fake_model("tiny").await;
    let generation = request("/api/generate", endless().len(), &endless());
    let unread = join_all((0..4).map(|_| server.narrow_socket(&generation))).await;
    let streams = http2_without_window(&server, 4).await;
    let body = json!({"model": "tiny", "prompt": "mine", "stream": false});
    // None of the eight ends by itself.
    server.post("/api/generate", &body).await.ok();
    drop((unread, streams));
}

/// Starts generations on one connection whose client accepts no data of any answer.
async fn http2_without_window(server: &TestServer, n: u32) -> Socket {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        [&head, payload].concat()
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // A window of zero bytes.
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    for number in 0..n {
        let stream = 2 * number + 1;
        // POST, http, the path, the host: by their numbers in HPACK's static table.
        let head = b"\x83\x86\x04\x0d/api/generate\x41\x09localhost";
        bytes.extend(frame(1, 4, stream, head));
        bytes.extend(frame(0, 1, stream, endless().as_bytes()));
    }
    server.socket(&bytes).await
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_its_answer() {
    let server = impatient("1s").await;
    server.fake_model("tiny").await;
    let body = json!({"model": "tiny", "prompt": "[[repeat 1500]]"});
    let mut stream = server.stream("/api/generate", &body).await;
    let mut pause = tokio::time::interval(Duration::from_millis(400));
    let mut last = json!(null);
    for count in 0.. {
        let Some(line) = stream.next().await else {
            break;
        };
        last = line;
        if count % 500 == 0 {
            pause.tick().await;
        }
    }
    assert_eq!(last["done"], true, "{last}");
}

#[tokio::test]
async fn a_full_house_says_so_and_stops_in_time() {
    let builder = TestServer::builder().env("DROVER_MAX_CONNECTIONS", "16");
    let mut server = builder.env("DROVER_GRACE", "100ms").start().await;
    // This machine leaves two places to other machines.
    let crowd = (0..14).map(|_| server.socket(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"));
    let mut crowd = join_all(crowd).await;
    let version = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for socket in &mut crowd {
        socket.read_until("HTTP/1.1 100 Continue").await;
    }
    // A client that sends all of a long request first gets the answer, and so does a silent one.
    let long = request("/api/chat", 500_000, &"x".repeat(500_000));
    for bytes in [&b""[..], version, &long] {
        let refused = server.socket(bytes).await.whole().await;
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(
            refused.ends_with("\r\n\r\n{\"error\":\"too many connections\"}"),
            "{refused}"
        );
    }
    // Admitted clients are served.
    crowd[0].send(b"{        ").await;
    crowd[0].read_until("unexpected EOF").await;
    crowd[0].send(version).await;
    crowd[0].read_until("\"version\"").await;
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.exit_code().await, Some(0), "{}", server.log.text());
}

#[tokio::test]
async fn a_head_that_is_too_long_is_answered() {
    let server = TestServer::start().await;
    let head = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: {}\r\n\r\n",
        "a".repeat(500_000)
    );
    let answer = server.socket(head.as_bytes()).await.whole().await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn too_many_requests_of_one_origin_are_refused_in_their_protocol() {
    let server = TestServer::builder()
        .env("OLLAMA_NUM_PARALLEL", "2")
        .env("DROVER_MAX_CONNECTIONS", "16")
        .env("DROVER_TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    server.fake_model("tiny").await;
    let from = |path: &str, body: &str| {
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.9\r\n");
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    // An eighth of the connections.
    let mut two = Vec::new();
    for _ in 0..2 {
        let mut socket = server.socket(&from("/api/generate", &endless())).await;
        socket.read_until("response").await;
        two.push(socket);
    }
    let long = "x".repeat(500_000);
    for (path, shape) in [
        ("/api/chat", "{\"error\":\""),
        ("/v1/messages", "overloaded_error"),
    ] {
        let mut socket = server.socket(&from(path, &long)).await;
        let answer = socket.read_until("from this address").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("retry-after: "), "{answer}");
        assert!(answer.contains(shape), "{answer}");
        // Its body was read, so that the connection can be used again.
        socket
            .send(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        socket.read_until("\"version\"").await;
    }
}
