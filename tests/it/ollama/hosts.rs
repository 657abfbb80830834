//! The host names of a daemon that other machines reach, as they arrive over real sockets.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::TestServer;

/// Sends a request as it is written; returns the status.
async fn raw(server: &TestServer, head: &str) -> u16 {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!(
        "{}\r\nConnection: close\r\n\r\n",
        head.replace('\n', "\r\n")
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("{head}: {answer}"));
    status.parse().unwrap()
}

async fn open(variables: &[(&str, &str)]) -> TestServer {
    let mut builder = TestServer::builder().env("OLLAMA_HOST", "0.0.0.0:0");
    for (name, value) in variables {
        builder = builder.env(name, value);
    }
    builder.start().await
}

#[tokio::test]
async fn beyond_loopback_a_page_cannot_take_the_server_by_a_name_of_its_own() {
    let server = open(&[]).await;
    let evil = "evil.example.com:11434";
    for head in [
        format!("GET /api/tags HTTP/1.1\nHost: {evil}"),
        // The browser then reports the page's own origin.
        format!("POST /api/show HTTP/1.1\nHost: {evil}\nOrigin: http://{evil}\nContent-Length: 0"),
        format!("OPTIONS /api/chat HTTP/1.1\nHost: {evil}"),
        format!("GET /metrics HTTP/1.1\nHost: {evil}"),
        format!("GET http://{evil}/api/tags HTTP/1.1\nHost: localhost"),
        format!("GET http://localhost/api/tags HTTP/1.1\nHost: {evil}"),
        "GET /api/tags HTTP/1.1\nHost: EVIL.example.com.".to_owned(),
        "GET /api/tags HTTP/1.1\nHost: localhost.example.com".to_owned(),
        "GET /api/tags HTTP/1.1\nHost: evil.com@localhost".to_owned(),
        "GET /api/tags HTTP/1.1\nHost: 127.0.0.1.nip.io".to_owned(),
    ] {
        assert_eq!(raw(&server, &head).await, 403, "{head}");
    }
    // Whichever of them counts. (A refusal by the HTTP library is as good.)
    for hosts in [
        "Host: localhost\nHost: evil.com",
        "Host: evil.com\nHost: localhost",
    ] {
        let status = raw(&server, &format!("GET / HTTP/1.1\n{hosts}")).await;
        assert!(matches!(status, 400 | 403), "{hosts}: {status}");
    }
    for host in [
        "localhost:11434",
        "127.0.0.1",
        "203.0.113.9:11434",
        "[2001:db8::5]:11434",
        "workstation:11434",
        "gpu-box.lan:11434",
        "host.docker.internal:11434",
        "ollama.default.svc.cluster.local:11434",
    ] {
        let head = format!("GET /api/tags HTTP/1.1\nHost: {host}");
        assert_eq!(raw(&server, &head).await, 200, "{host}");
    }
    assert_eq!(raw(&server, "GET / HTTP/1.0").await, 200);
    server
        .log
        .wait_for("the remedy", |line| {
            line.contains("DROVER_ALLOWED_HOSTS=evil.example.com")
                .then_some(())
        })
        .await;
    let log = server.log.text();
    let warned = "DROVER_ALLOWED_HOSTS=evil.example.com";
    assert_eq!(log.matches(warned).count(), 1, "{log}");
}

#[tokio::test]
async fn the_authority_of_http_2_is_a_host_as_well() {
    let server = open(&[]).await;
    let address: SocketAddr = server.address().parse().unwrap();
    let get = async |name: &str| {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .http2_prior_knowledge()
            .resolve(name, address)
            .build()
            .unwrap();
        let url = format!("http://{name}:{}/api/tags", address.port());
        client.get(url).send().await.unwrap().status().as_u16()
    };
    assert_eq!(get("evil.example.com").await, 403);
    assert_eq!(get("box.lan").await, 200);
}

#[tokio::test]
async fn settings_name_the_server() {
    let server = open(&[
        ("DROVER_ALLOWED_HOSTS", "ollama.example.com, *.corp.example"),
        ("OLLAMA_ORIGINS", "https://chat.example.org"),
    ])
    .await;
    for (host, expected) in [
        ("ollama.example.com", 200),
        ("gpu.corp.example:11434", 200),
        ("chat.example.org", 200),
        ("example.com", 403),
    ] {
        let head = format!("GET /api/tags HTTP/1.1\nHost: {host}");
        assert_eq!(raw(&server, &head).await, expected, "{host}");
    }
    for setting in [("DROVER_ALLOWED_HOSTS", "*"), ("OLLAMA_ORIGINS", "*")] {
        let server = open(&[setting]).await;
        let head = "GET /api/tags HTTP/1.1\nHost: any.example.com";
        assert_eq!(raw(&server, head).await, 200, "{setting:?}");
    }
}
