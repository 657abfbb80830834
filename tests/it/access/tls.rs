//! HTTPS by certificate files. (The certificates here are made for tests, and nobody trusts them.)

use reqwest::{Certificate, Client, Version};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Drover, TestServer};

const ONE: [&str; 2] = [
    include_str!("certificates/one.crt"),
    include_str!("certificates/one.key"),
];
const TWO: [&str; 2] = [
    include_str!("certificates/two.crt"),
    include_str!("certificates/two.key"),
];

/// Puts a certificate and a key where the daemon looks for them.
fn put(folder: &TempDir, certificate: &str, key: &str) {
    for (name, text) in [("server.crt", certificate), ("server.key", key)] {
        fs_err::write(folder.path().join(name), text).unwrap();
    }
}

async fn secured(folder: &TempDir) -> TestServer {
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    TestServer::builder()
        .env("DROVER_TLS_CERT", &path("server.crt"))
        .env("DROVER_TLS_KEY", &path("server.key"))
        .start()
        .await
}

/// Sends a request as a client that trusts only this certificate.
async fn ask(server: &TestServer, trusted: &str) -> Result<Version, reqwest::Error> {
    let trusted = Certificate::from_pem(trusted.as_bytes()).unwrap();
    let client = Client::builder().no_proxy().tls_certs_only([trusted]);
    let url = format!("https://{}/api/version", server.address());
    let response = client.build().unwrap().get(url).send().await?;
    assert_eq!(response.status(), 200);
    Ok(response.version())
}

#[tokio::test]
async fn certificates_are_read_again_on_sighup() {
    let folder = TempDir::new().unwrap();
    put(&folder, ONE[0], ONE[1]);
    let server = secured(&folder).await;
    assert_eq!(ask(&server, ONE[0]).await.unwrap(), Version::HTTP_2);
    ask(&server, TWO[0]).await.unwrap_err();
    put(&folder, TWO[0], TWO[1]);
    server.signal(Signal::HUP);
    let again = |line: &str| line.contains("certificate was read again").then_some(());
    server.log.wait_for("the reload", again).await;
    ask(&server, TWO[0]).await.unwrap();
    ask(&server, ONE[0]).await.unwrap_err();
    // A key that does not match the certificate changes nothing.
    put(&folder, ONE[0], TWO[1]);
    server.signal(Signal::HUP);
    let stays = |line: &str| line.contains("certificate stays as it was").then_some(());
    server.log.wait_for("the mistake", stays).await;
    ask(&server, TWO[0]).await.unwrap();
}

#[tokio::test]
async fn who_speaks_plain_http_is_told() {
    let folder = TempDir::new().unwrap();
    put(&folder, ONE[0], ONE[1]);
    let server = secured(&folder).await;
    for body in [0, 500_000] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {body}\r\n\r\n{}",
            "x".repeat(body)
        );
        let answer = server.socket(request.as_bytes()).await.whole().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.ends_with("to an HTTPS server."), "{answer}");
    }
    // Silent clients, and clients that send nonsense, do not keep others from being served.
    let _silent = server.socket(b"").await;
    let nonsense = server.socket(b"\x16\x03\x01\x00\x05hello").await;
    nonsense.rest().await;
    ask(&server, ONE[0]).await.unwrap();
}

#[tokio::test]
async fn the_command_line_speaks_https() {
    let folder = TempDir::new().unwrap();
    put(&folder, ONE[0], ONE[1]);
    let server = secured(&folder).await;
    let host = format!("https://{}", server.address());
    let trusted = folder.path().join("server.crt");
    let drover = Drover::at(&host).env("SSL_CERT_FILE", trusted.to_str().unwrap());
    drover.run(&["list"]).await.ok();
    // A container's health check knows neither the certificate's name nor its issuer.
    Drover::at(server.address()).run(&["health"]).await.ok();
    let error = Drover::at(&host).run(&["list"]).await.failed();
    assert!(error.to_lowercase().contains("certificate"), "{error}");
}

#[test]
fn a_certificate_without_its_key_stops_the_start() {
    let folder = TempDir::new().unwrap();
    for (certificate, key, expected) in [
        (ONE[0], TWO[1], "server.key"),
        ("", ONE[1], "no certificate"),
        (ONE[0], "", "server.key"),
    ] {
        put(&folder, certificate, key);
        let mut command = crate::support::hermetic(crate::support::program(), folder.path());
        let output = command
            .arg("serve")
            .env("OLLAMA_HOST", "127.0.0.1:0")
            .env("DROVER_TLS_CERT", folder.path().join("server.crt"))
            .env("DROVER_TLS_KEY", folder.path().join("server.key"))
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && error.contains(expected),
            "{error}"
        );
    }
}
