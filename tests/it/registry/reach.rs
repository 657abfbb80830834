//! Which addresses clients and registries can make the daemon connect to, and what it reveals of the answers.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use drover::net::Pattern;
use drover::registry::{Asker, Settings};
use futures_util::stream;
use reqwest::header::HeaderName;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fake::{Fake, Fault};
use super::pushes::Pusher;
use super::{Puller, check_store, finish, wish};
use crate::support::{Drover, TestServer};

/// A text that no client may see.
const SECRET: &str = "the-key-of-the-safe";

/// A server that answers as the test says, and records the requests.
#[derive(Clone)]
struct Other {
    address: String,
    asked: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    path: String,
    host: String,
    authorization: Option<String>,
}

impl Other {
    async fn start(answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = Self {
            address: listener.local_addr().unwrap().to_string(),
            asked: Arc::default(),
        };
        let asked = Arc::clone(&other.asked);
        let handler = move |request: Request| {
            let authorization = request.headers().get(header::AUTHORIZATION);
            let seen = Seen {
                method: request.method().clone(),
                path: request.uri().to_string(),
                host: request.headers()[header::HOST].to_str().unwrap().to_owned(),
                authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
            };
            asked.lock().unwrap().push(seen.clone());
            let response = answer(&seen);
            async move { response }
        };
        let routes = Router::new().fallback(handler);
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(async move { axum::serve(listener, routes).await });
        other
    }

    /// A server that must get no request.
    async fn unasked() -> Self {
        Self::start(|_| SECRET.into_response()).await
    }

    fn name(&self) -> String {
        format!("{}/library/m", self.address)
    }

    fn port(&self) -> &str {
        self.address.rsplit_once(':').unwrap().1
    }

    fn asked(&self) -> Vec<Seen> {
        self.asked.lock().unwrap().clone()
    }

    #[track_caller]
    fn was_not_asked(&self) {
        assert!(self.asked().is_empty(), "{:?}", self.asked());
    }
}

fn puller(change: impl FnOnce(&mut Settings)) -> Puller {
    Puller::with(Arc::new(TempDir::new().unwrap()), change)
}

fn allowing(hosts: &[&str]) -> Puller {
    let hosts = hosts.iter().map(|host| Pattern::parse(host).unwrap());
    let allowed = hosts.collect();
    puller(|settings| settings.allowed = allowed)
}

async fn pulled_from_elsewhere(puller: &Puller, name: &str) -> Result<Vec<String>, String> {
    finish(puller.registry.pull(wish(name, Asker::Elsewhere))).await
}

fn answer(status: u16, headers: &[(HeaderName, &str)], body: &'static str) -> Response {
    let mut response = body.into_response();
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// All notations of the address of a port on this machine.
fn spellings(port: &str) -> Vec<String> {
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.9.9.9",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "localhost",
        "LocalHost",
        "localhost.",
        "x.localhost",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "intranet",
        "metadata.google.internal",
    ];
    hosts.iter().map(|host| format!("{host}:{port}")).collect()
}

#[tokio::test]
async fn others_cannot_name_registries_of_this_network() {
    let fake = Fake::start(vec![1; 1000]).await;
    let port = fake.url().rsplit_once(':').unwrap().1.to_owned();
    let mut spellings = spellings(&port);
    let machine = hostname::get().unwrap().into_string().unwrap();
    spellings.push(format!("{machine}:{port}"));
    for interface in if_addrs::get_if_addrs().unwrap() {
        if interface.ip().is_ipv4() {
            spellings.push(format!("{}:{port}", interface.ip()));
        }
    }
    let puller = Puller::new();
    for host in spellings {
        for insecure in [true, false] {
            let mut wish = wish(&format!("{host}/library/m"), Asker::Elsewhere);
            wish.insecure = insecure;
            let pulled = finish(puller.registry.pull(wish.clone()))
                .await
                .unwrap_err();
            assert!(
                pulled.contains("DROVER_ALLOWED_REGISTRIES"),
                "{host}: {pulled}"
            );
            // Its manifest would have to exist to be pushed.
            let pushed = finish(puller.registry.push(wish)).await.unwrap_err();
            assert!(!pushed.is_empty(), "{host}");
        }
    }
    assert!(fake.asked().is_empty());
    assert_eq!(puller.blobs(), [""; 0]);
    // Clients on this machine may.
    puller.pull(&fake.name()).await.unwrap();
    let local = format!("LocalHost:{port}/library/m");
    puller.pull(&local).await.unwrap();
    // But nobody may connect to where clouds keep their credentials.
    for host in ["169.254.169.254", "0.0.0.0", "100.100.100.200", "224.0.0.1"] {
        let error = puller.pull(&format!("{host}/a/b")).await.unwrap_err();
        assert!(error.contains("reserved address"), "{host}: {error}");
    }
}

#[tokio::test]
async fn registries_in_the_settings_are_everybodys() {
    let fake = Fake::start(vec![1; 1000]).await;
    let other = Other::unasked().await;
    let name = fake.name();
    let (host, _) = name.split_once('/').unwrap();
    let puller = allowing(&[host]);
    pulled_from_elsewhere(&puller, &name).await.unwrap();
    // Exactly that port.
    let error = pulled_from_elsewhere(&puller, &other.name()).await;
    assert!(error.is_err());
    other.was_not_asked();
    for setting in ["*", "127.0.0.1"] {
        let puller = allowing(&[setting]);
        pulled_from_elsewhere(&puller, &name).await.unwrap();
    }
    let mirror = fake.url();
    let puller = self::puller(|settings| settings.mirrors = vec![mirror]);
    pulled_from_elsewhere(&puller, "m").await.unwrap();
}

#[tokio::test]
async fn a_registry_does_not_lead_into_this_network() {
    let other = Other::unasked().await;
    let mut targets: Vec<String> = spellings(other.port())
        .into_iter()
        .map(|host| format!("http://{host}"))
        .collect();
    let port = other.port();
    for odd in [
        format!("http://user:pw@127.0.0.1:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        format!("http://[::1]:{port}"),
        format!("http://[::]:{port}"),
        format!("http://%31%32%37.0.0.1:{port}"),
        format!("//127.0.0.1:{port}"),
        format!("https://127.0.0.1:{port}"),
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.1".to_owned(),
        "gopher://127.0.0.1:70".to_owned(),
    ] {
        targets.push(odd);
    }
    let puller = Puller::new();
    for target in targets {
        let fake = Fake::start(vec![1; 1000]).await;
        for part in ["/manifests/", "/blobs/"] {
            let told = target.clone();
            fake.rule(move |asked| match asked.path.contains(part) {
                true => Fault::Redirect(told.clone()),
                false => Fault::None,
            });
            let error = puller.pull(&fake.name()).await.unwrap_err();
            let is_refused = error.contains("DROVER_ALLOWED_REGISTRIES")
                || error.contains("the registry leads to a");
            assert!(is_refused, "{target}: {error}");
            assert!(!error.contains(SECRET), "{target}: {error}");
        }
        // A refused redirect is not retried again and again.
        assert!(fake.asked().len() <= 3, "{target}");
    }
    other.was_not_asked();
}

#[tokio::test]
async fn a_registry_may_lead_to_itself_but_not_for_ever() {
    let fake = Fake::start(vec![1; 1000]).await;
    let base = fake.url();
    fake.rule(move |asked| match asked.path.strip_prefix("/moved") {
        Some(_) => Fault::None,
        None => Fault::Redirect(format!("{base}/moved")),
    });
    let puller = Puller::new();
    puller.pull(&fake.name()).await.unwrap();
    let n_asked = fake.asked().len();
    let base = fake.url();
    fake.rule(move |_| Fault::Redirect(base.clone()));
    let error = puller.pull(&fake.name()).await.unwrap_err();
    assert!(error.contains("more than 10 times"), "{error}");
    assert_eq!(fake.asked().len() - n_asked, 11);
}

/// Requires a token and accepts an upload, which it redirects to `target`: at the beginning, or for each part.
fn leading(target: String, by_part: bool) -> impl Fn(&Seen) -> Response + Clone {
    move |seen| match (seen.method.as_str(), by_part) {
        _ if seen.path.starts_with("/token") => answer(200, &[], r#"{"token":"bearer"}"#),
        _ if seen.authorization.is_none() => {
            let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", seen.host);
            answer(401, &[(header::WWW_AUTHENTICATE, &realm)], "")
        }
        ("HEAD", _) => answer(404, &[], ""),
        ("POST", false) => answer(202, &[(header::LOCATION, &target)], ""),
        ("POST", true) => answer(202, &[(header::LOCATION, "/here")], ""),
        ("PATCH", _) => answer(307, &[(header::LOCATION, &target)], ""),
        _ => answer(201, &[], ""),
    }
}

#[tokio::test]
async fn an_upload_goes_nowhere_else_and_its_token_stays_at_home() {
    let other = Other::start(|_| answer(201, &[(header::LOCATION, "/next")], "")).await;
    for by_part in [false, true] {
        for target in [
            "http://ADDRESS/x",
            "file:///etc/x",
            "http://169.254.169.254/x",
        ] {
            let target = target.replace("ADDRESS", &other.address);
            let registry = Other::start(leading(target.clone(), by_part)).await;
            let error = Pusher::new(&registry.address).push().await.unwrap_err();
            let is_refused = error.contains("DROVER_ALLOWED_REGISTRIES")
                || error.contains("the registry leads to a");
            assert!(is_refused, "{target}: {error}");
        }
        other.was_not_asked();
    }
    // Even where the redirect is allowed, the token is not sent along.
    for by_part in [false, true] {
        let target = format!("http://{}/x", other.address);
        let registry = Other::start(leading(target, by_part)).await;
        let allowed = vec![Pattern::parse(&other.address).unwrap()];
        let pusher = Pusher::with(&registry.address, |settings| settings.allowed = allowed);
        pusher.push().await.unwrap();
        let used = |seen: &Seen| seen.authorization.as_deref() == Some("Bearer bearer");
        assert!(registry.asked().iter().any(used));
    }
    let leaked = other
        .asked()
        .into_iter()
        .filter(|seen| seen.authorization.is_some());
    assert_eq!(leaked.count(), 0);
    assert!(!other.asked().is_empty());
}

#[tokio::test]
async fn a_token_is_asked_for_at_the_registry_alone() {
    let other = Other::unasked().await;
    let near = format!("http://{}/token", other.address);
    let secret = format!("http://{SECRET}{}.example/token", "x".repeat(400));
    for realm in [
        &near,
        "http://169.254.169.254/token",
        "file:///token",
        &secret,
        "",
        "::",
    ] {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        let headers = move |_: &Seen| answer(401, &[(header::WWW_AUTHENTICATE, &challenge)], "");
        let registry = Other::start(headers).await;
        let error = Puller::new().pull(&registry.name()).await.unwrap_err();
        assert!(error.len() < 400, "{realm}: {error}");
        // The target of a redirect gets no request.
        let registry = Other::start(headers_of_redirect(&other)).await;
        assert!(Puller::new().pull(&registry.name()).await.is_err());
    }
    other.was_not_asked();
}

fn headers_of_redirect(other: &Other) -> impl Fn(&Seen) -> Response + Clone + use<> {
    let target = format!("http://{}/token", other.address);
    move |seen| {
        if seen.path.starts_with("/token") {
            return answer(307, &[(header::LOCATION, &target)], "");
        }
        let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", seen.host);
        answer(401, &[(header::WWW_AUTHENTICATE, &realm)], "")
    }
}

#[tokio::test]
async fn answers_are_not_told_to_those_who_ask() {
    const PAGE: &str = "<html>the-key-of-the-safe</html>";
    const STRING: &str = "\"the-key-of-the-safe\"";
    const OBJECT: &str = r#"{"schemaVersion":"the-key-of-the-safe"}"#;
    const LIST: &str = r#"{"layers":[{"size":"the-key-of-the-safe"}]}"#;
    let puller = Puller::new();
    for status in [200, 201, 400, 401, 403, 404, 500] {
        for body in [PAGE, STRING, OBJECT, LIST, SECRET] {
            let other = Other::start(move |_| answer(status, &[], body)).await;
            let error = puller.pull(&other.name()).await.unwrap_err();
            assert!(!error.contains(SECRET), "{status} {body}: {error}");
            if body == PAGE
                && let Err(error) = Pusher::new(&other.address).push().await
            {
                assert!(!error.contains(SECRET), "{status} {body}: {error}");
            }
            let token = move |seen: &Seen| match seen.path.starts_with("/token") {
                true => answer(status, &[], body),
                false => headers_of_redirect(&Other {
                    address: String::new(),
                    asked: Arc::default(),
                })(seen),
            };
            let other = Other::start(token).await;
            let error = puller.pull(&other.name()).await.unwrap_err();
            assert!(!error.contains(SECRET), "{status} {body}: {error}");
        }
    }
    // A registry's reason in the protocol's format is only for clients that may use it.
    const REASON: &str = r#"{"errors":[{"code":"DENIED","message":"not\u001b[31m yours"}]}"#;
    let registry = Other::start(|_| answer(403, &[], REASON)).await;
    let error = Puller::new().pull(&registry.name()).await.unwrap_err();
    assert_eq!(error, "pull model manifest: 403: not[31m yours");
    let led = Fake::start(vec![1]).await;
    let target = format!("http://{}", registry.address);
    led.rule(move |_| Fault::Redirect(target.clone()));
    let puller = allowing(&[registry.address.as_str()]);
    let error = puller.pull(&led.name()).await.unwrap_err();
    assert_eq!(error, "pull model manifest: 403: not[31m yours");
}

/// Sends a chunk at intervals, without end.
fn dripping() -> Response {
    let drops = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Some((Ok::<_, std::io::Error>(" "), ()))
    });
    Body::from_stream(drops).into_response()
}

#[tokio::test]
async fn small_answers_have_a_size_and_a_time() {
    let quick = |settings: &mut Settings| settings.answer = Duration::from_millis(200);
    let start = Instant::now();
    for status in [200, 500] {
        let other = Other::start(move |_| {
            let mut response = dripping();
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        })
        .await;
        let error = puller(quick).pull(&other.name()).await.unwrap_err();
        let expected = if status == 200 { "takes longer" } else { "500" };
        assert!(error.contains(expected), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn manifests_of_absurd_models_are_refused_before_anything_is_fetched() {
    let fake = Fake::start(vec![1; 1000]).await;
    let good = fake.manifest();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        manifest
    };
    let layer = |kind: &str, index: u64, size: u64| {
        json!({"mediaType": format!("application/vnd.ollama.image.{kind}"), "size": size,
            "digest": drover::model::Digest::of(&index.to_le_bytes()).to_string()})
    };
    let adding = |layers: Vec<Value>| {
        with(&move |manifest| {
            let known = manifest["layers"].as_array_mut().unwrap();
            known.extend(layers.iter().cloned());
        })
    };
    for manifest in [
        with(&|manifest| manifest["config"]["size"] = (3_u64 << 30).into()),
        adding(vec![layer("params", 0, 2 << 20)]),
        adding(vec![layer("messages", 0, 2 << 20)]),
        adding(vec![layer("template", 0, 40 << 20)]),
        adding(
            (0..5)
                .map(|index| layer("license", index, 10 << 20))
                .collect(),
        ),
        adding((0..2000).map(|index| layer("license", index, 1)).collect()),
    ] {
        fake.set_manifest(&manifest);
        let puller = Puller::new();
        let error = puller.pull(&fake.name()).await.unwrap_err();
        assert!(error.contains("not that of a model"), "{error}");
        assert_eq!(puller.blobs(), [""; 0]);
    }
    assert_eq!(fake.served(), 0);
}

#[tokio::test]
async fn pages_and_proxied_clients_are_not_on_this_machine() {
    let fake = Fake::start(vec![1; 1000]).await;
    let server = TestServer::start().await;
    let body = json!({"model": fake.name(), "insecure": true, "stream": false});
    for (name, value) in [
        ("origin", "http://localhost:3000"),
        ("sec-fetch-site", "same-site"),
        ("referer", "http://localhost:3000/"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("via", "1.1 Caddy"),
    ] {
        for path in ["/api/pull", "/api/push"] {
            let request = server.http.post(format!("{}{path}", server.url));
            let answer = request
                .header(name, value)
                .json(&body)
                .send()
                .await
                .unwrap();
            assert_ne!(answer.status(), 200, "{name}");
            if path == "/api/pull" {
                assert_eq!(answer.status(), 403, "{name}");
                let error = answer.text().await.unwrap();
                assert!(error.contains("DROVER_ALLOWED_REGISTRIES"), "{error}");
            }
        }
    }
    assert!(fake.asked().is_empty());
    let drover = Drover::of(&server);
    drover.run(&["pull", "--insecure", &fake.name()]).await.ok();
    check_store(&server.store());
    // A registry in the settings is allowed for everybody.
    let name = fake.name();
    let (host, _) = name.split_once('/').unwrap();
    let server = TestServer::builder().env("DROVER_ALLOWED_REGISTRIES", host);
    let server = server.start().await;
    let request = server.http.post(format!("{}/api/pull", server.url));
    let request = request
        .header("origin", "http://localhost:3000")
        .json(&body);
    assert_eq!(request.send().await.unwrap().status(), 200);
    check_store(&server.store());
}

#[tokio::test]
async fn a_proxy_does_not_find_for_others_what_they_may_not_name() {
    let proxy = Other::start(|_| answer(502, &[], "")).await;
    let address = format!("http://{}", proxy.address);
    let server = TestServer::builder()
        .env("HTTP_PROXY", &address)
        .env("http_proxy", &address)
        .env("HTTPS_PROXY", &address)
        .start()
        .await;
    let pull = async |name: &str| {
        let body = json!({"model": name, "insecure": true, "stream": false});
        let request = server.http.post(format!("{}/api/pull", server.url));
        let request = request.header("x-forwarded-for", "10.9.9.9").json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    for host in [
        "10.0.0.1",
        "intranet",
        "nas.lan",
        "localhost:1",
        "169.254.169.254",
    ] {
        assert_eq!(pull(&format!("{host}/a/b")).await, 403, "{host}");
    }
    proxy.was_not_asked();
    // Only the proxy can resolve names on the internet here.
    assert_eq!(pull("registry.example.com/a/b").await, 500);
    let asked = proxy.asked();
    assert!(
        asked[0].path.contains("registry.example.com/v2/a/b"),
        "{asked:?}"
    );
}
