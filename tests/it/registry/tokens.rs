//! A real registry that requires tokens, and the server that issues them for known keys.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};
use signature::Verifier as _;
use ssh_key::{Algorithm, PublicKey, Signature};
use tempfile::TempDir;

use super::check_store;
use super::real::{Registry, transfer};
use crate::support::{Drover, TestServer, models, skip};

/// Base64 of the hex text of the SHA-256 of an empty body, which is signed for requests without a body.
const EMPTY_BODY: &str =
    "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ==";

/// A server in front of a registry: issues tokens, passes on everything else.
#[derive(Clone)]
struct Front {
    folder: Arc<TempDir>,
    http: reqwest::Client,
    address: String,
    registry: Arc<Mutex<String>>,
    /// The public key line of the only known key.
    known: Arc<Mutex<String>>,
    n_tokens: Arc<Mutex<usize>>,
    /// Rewrites addresses like some proxies, so that the received request is not the signed one.
    rewrites: Arc<AtomicBool>,
}

impl Front {
    /// Starts both; `None` if the registry is not installed.
    async fn start() -> Option<(Self, Registry)> {
        let folder = TempDir::new().unwrap();
        if !make_certificate(folder.path()) {
            skip("no openssl");
            return None;
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let settings = format!(
            "auth: {{token: {{realm: 'http://{address}/token', service: drover-test, \
             issuer: drover-test, rootcertbundle: {}}}}}",
            folder.path().join("cert.pem").display()
        );
        let registry = Registry::with(&settings).await?;
        // It is fine if a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build();
        let front = Self {
            folder: Arc::new(folder),
            http: http.unwrap(),
            address,
            registry: Arc::new(Mutex::new(registry.address.clone())),
            known: Arc::default(),
            n_tokens: Arc::default(),
            rewrites: Arc::default(),
        };
        let routes = Router::new().fallback(answer).with_state(front.clone());
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(async move { axum::serve(listener, routes).await });
        Some((front, registry))
    }

    /// From now on knows the daemon's key, and no other.
    fn register(&self, server: &TestServer) {
        let path = server
            .store()
            .with_file_name("home")
            .join(".ollama/id_ed25519.pub");
        *self.known.lock().unwrap() = fs_err::read_to_string(path).unwrap();
    }
}

fn make_certificate(folder: &Path) -> bool {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args("req -x509 -newkey rsa:2048 -nodes -subj /CN=drover-test -days 2 -keyout key.pem -out cert.pem".split(' '));
    command.output().is_ok_and(|output| output.status.success())
}

async fn answer(State(front): State<Front>, request: Request) -> Response {
    if request.uri().path() == "/token" {
        return token(&front, &request);
    }
    let (parts, body) = request.into_parts();
    let url = format!("http://{}{}", front.registry.lock().unwrap(), parts.uri);
    let body = reqwest::Body::wrap_stream(body.into_data_stream());
    // With the host that the client knows, from which addresses in answers are made.
    let sent = front.http.request(parts.method, url).headers(parts.headers);
    let answer = sent.body(body).send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Body::from_stream(answer.bytes_stream()).into_response();
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

/// Issues a token for the requested access, if the key is known.
fn token(front: &Front, request: &Request) -> Response {
    let mut url = format!("http://{}{}", front.address, request.uri());
    if front.rewrites.load(Ordering::Relaxed) {
        url.push_str("&via=proxy");
    }
    if let Err(reason) = verify(request.headers(), &url, &front.known.lock().unwrap()) {
        let body = json!({"errors": [{"code": "UNAUTHORIZED", "message": reason}]});
        return (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response();
    }
    let url = reqwest::Url::parse(&url).unwrap();
    let (mut access, mut n_fresh) = (Vec::new(), 0);
    for (key, value) in url.query_pairs() {
        match &*key {
            "scope" => {
                let [kind, name, actions] = value.split(':').collect::<Vec<_>>()[..] else {
                    return StatusCode::BAD_REQUEST.into_response();
                };
                let actions: Vec<&str> = actions.split(',').collect();
                access.push(json!({"type": kind, "name": name, "actions": actions}));
            }
            "ts" => {
                let age = Timestamp::now().as_second() - value.parse::<i64>().unwrap();
                n_fresh += usize::from(age.abs() < 60);
            }
            "nonce" => n_fresh += usize::from(value.len() == 22),
            "service" => n_fresh += usize::from(value == "drover-test"),
            _ => {}
        }
    }
    if n_fresh != 3 {
        return (StatusCode::BAD_REQUEST, "stale").into_response();
    }
    *front.n_tokens.lock().unwrap() += 1;
    axum::Json(json!({"token": jwt(front.folder.path(), &access)})).into_response()
}

/// Checks the signature as Ollama's registry does.
fn verify(headers: &HeaderMap, url: &str, known: &str) -> Result<(), &'static str> {
    let header = headers.get(header::AUTHORIZATION).ok_or("no signature")?;
    let header = header.to_str().map_err(|_| "no text")?;
    let (key, signature) = header.split_once(':').ok_or("no signature")?;
    if known.trim_end() != format!("ssh-ed25519 {key}") {
        return Err("this key is not registered");
    }
    let key = PublicKey::from_openssh(known).map_err(|_| "no key")?;
    let signature = STANDARD.decode(signature).map_err(|_| "no base64")?;
    let signature = Signature::new(Algorithm::Ed25519, signature).map_err(|_| "no signature")?;
    let text = format!("GET,{url},{EMPTY_BODY}");
    let verified = key.key_data().verify(text.as_bytes(), &signature);
    verified.map_err(|_| "wrong signature")
}

/// A token that the registry accepts: signed with the key of the certificate that it trusts.
fn jwt(folder: &Path, access: &[Value]) -> String {
    let certificate = fs_err::read_to_string(folder.join("cert.pem")).unwrap();
    let lines = certificate.lines().filter(|line| !line.starts_with('-'));
    let certificate: String = lines.collect();
    let now = Timestamp::now().as_second();
    let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]});
    let claims = json!({"iss": "drover-test", "sub": "me", "aud": "drover-test", "exp": now + 300,
        "nbf": now - 10, "iat": now, "jti": "1", "access": access});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let mut command = Command::new("openssl");
    command
        .current_dir(folder)
        .args(["dgst", "-sha256", "-sign", "key.pem"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(signed.as_bytes())
        .unwrap();
    let signature = child.wait_with_output().unwrap().stdout;
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn a_registry_with_tokens_takes_and_gives_models_to_known_keys_alone() {
    let Some((front, _registry)) = Front::start().await else {
        return;
    };
    let name = format!("{}/me/m:v1", front.address);
    let server = TestServer::start().await;
    let created = server.create(&name, models::fake().build(), json!({}));
    created.await.ok();
    let body = json!({"model": name, "insecure": true, "stream": false});

    // No key is known yet, or only another one.
    let stranger = TestServer::start().await;
    front.register(&stranger);
    let refused = server.post("/api/push", &body).await;
    assert!(
        refused.error().contains("401: this key is not registered"),
        "{}",
        refused.error()
    );

    front.register(&server);
    transfer(&server, "/api/push", &name).await;
    let delete = server.http.delete(format!("{}/api/delete", server.url));
    let deleted = delete.json(&json!({"model": name})).send().await.unwrap();
    assert_eq!(deleted.status(), 200);
    transfer(&server, "/api/pull", &name).await;
    check_store(&server.store());
    assert!(*front.n_tokens.lock().unwrap() >= 2);
    let refused = stranger.post("/api/pull", &body).await;
    let reason = "pull model manifest: 401: this key is not registered (asked with the key ";
    let refused = refused.error();
    assert!(refused.starts_with(reason), "{refused}");
    assert!(refused.ends_with(" id_ed25519.pub)"), "{refused}");
}

#[tokio::test]
async fn a_known_key_with_a_wrong_signature_is_refused_in_words() {
    let Some((front, _registry)) = Front::start().await else {
        return;
    };
    let name = format!("{}/me/m:v1", front.address);
    let server = TestServer::start().await;
    let created = server.create("mine", models::fake().build(), json!({}));
    created.await.ok();
    front.register(&server);
    let drover = Drover::of(&server);
    drover.run(&["cp", "mine", &name]).await.ok();

    front.rewrites.store(true, Ordering::Relaxed);
    for (command, name) in [("push", name.as_str()), ("pull", &format!("{name}2"))] {
        let output = drover.run(&[command, "--insecure", name]).await;
        assert_eq!(
            (output.code, output.stdout.as_str()),
            (Some(1), ""),
            "{output:?}"
        );
        let last = output.stderr.lines().last().unwrap();
        assert!(
            last.starts_with("Error: ")
                && last.contains("401: wrong signature (asked with the key "),
            "{output:?}"
        );
    }
    assert_eq!(*front.n_tokens.lock().unwrap(), 0);
    // Neither attempt had an effect.
    front.rewrites.store(false, Ordering::Relaxed);
    let nothing = drover.run(&["pull", "--insecure", &name]).await;
    assert!(
        nothing.stderr.contains("file does not exist"),
        "{nothing:?}"
    );
    drover.run(&["push", "--insecure", &name]).await.ok();
}

#[test]
fn the_check_of_signatures_refuses_another_text() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("id_ed25519");
    drover::registry::Key::load_or_create(&path).unwrap();
    let known = fs_err::read_to_string(path.with_extension("pub")).unwrap();
    let key = known.trim_end().split(' ').nth(1).unwrap();
    let private = fs_err::read_to_string(&path).unwrap();
    let private = ssh_key::PrivateKey::from_openssh(private).unwrap();
    let sign = |text: &str| {
        let signature: Signature = signature::Signer::sign(&private, text.as_bytes());
        let header = format!("{key}:{}", STANDARD.encode(signature.as_bytes()));
        HeaderMap::from_iter([(header::AUTHORIZATION, header.parse().unwrap())])
    };
    let right = sign(&format!("GET,http://r/token,{EMPTY_BODY}"));
    assert_eq!(verify(&right, "http://r/token", &known), Ok(()));
    let wrong = verify(&right, "http://r/token?scope=all", &known);
    assert_eq!(wrong, Err("wrong signature"));
}
