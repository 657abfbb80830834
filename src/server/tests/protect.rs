//! Origins, hosts, large bodies, panics, the end of the daemon, identification.

use std::future::pending;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request};
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::{Answer, Fixture, answer, request};

fn from(origin: &str, line: &str) -> Request<Body> {
    let mut request = request(line, "");
    let origin = origin.parse().unwrap();
    request.headers_mut().insert("origin", origin);
    request
}

fn varies(answer: &Answer) -> Vec<&str> {
    let values = answer.headers.get_all("vary").iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn web_pages_elsewhere_are_refused_before_the_handler() {
    let fixture = Fixture::new();
    for line in ["GET /", "POST /api/chat", "OPTIONS /api/chat", "GET /nope"] {
        let answer = fixture.send(from("https://example.com", line)).await;
        assert_eq!((answer.status, answer.body.as_str()), (403, ""), "{line}");
    }
    let answer = fixture.send(from("http://localhost:3000", "GET /")).await;
    assert_eq!(answer.status, 200);
    let allowed = answer.header("access-control-allow-origin");
    assert_eq!(allowed, "http://localhost:3000");
    assert_eq!(varies(&answer), ["Origin"]);
    let own = fixture.send(from("http://localhost:11434", "GET /")).await;
    assert_eq!(own.status, 200);
    assert_eq!(own.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn preflight_works_for_any_path() {
    let fixture = Fixture::new();
    for path in ["/api/chat", "/v1/chat/completions", "/nope"] {
        let answer = fixture
            .send(from("app://obsidian.md", &format!("OPTIONS {path}")))
            .await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "app://obsidian.md"
        );
        assert_eq!(
            answer.header("access-control-allow-methods"),
            "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
        );
        let headers = answer.header("access-control-allow-headers");
        assert!(
            headers.starts_with("Authorization,Content-Type,User-Agent,"),
            "{headers}"
        );
        assert_eq!(answer.header("access-control-max-age"), "43200");
        assert_eq!(
            varies(&answer),
            [
                "Origin",
                "Access-Control-Request-Method",
                "Access-Control-Request-Headers"
            ]
        );
    }
}

#[tokio::test]
async fn a_star_allows_all_pages() {
    let fixture = Fixture::with(|config| config.origins = vec!["*".to_owned()]);
    let answer = fixture.send(from("https://example.com", "GET /")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(varies(&answer), [""; 0]);
}

#[tokio::test]
async fn names_that_point_here_from_elsewhere_are_refused() {
    let fixture = Fixture::new();
    let ask = async |line: &str, host: &str| {
        let mut request = request(line, "");
        let host = host.parse().unwrap();
        request.headers_mut().insert("host", host);
        fixture.send(request).await
    };
    for path in ["/", "/api/tags", "/metrics", "/nope"] {
        let refused = ask(&format!("GET {path}"), "rebound.example.com:11434").await;
        assert_eq!(refused.status, 403, "{path}");
        let error = refused.json()["error"].as_str().unwrap().to_owned();
        let remedy = "DROVER_ALLOWED_HOSTS=rebound.example.com ";
        assert!(error.contains(remedy), "{error}");
    }
    let refused = ask("GET /v1/models", "rebound.example.com").await;
    assert!(refused.json()["error"]["message"].is_string());
    assert_eq!(ask("GET /", "a b").await.status, 403);
    assert_eq!(ask("GET /", "host.docker.internal:11434").await.status, 200);
    assert_eq!(ask("OPTIONS /api/chat", "localhost").await.status, 204);
}

#[tokio::test]
async fn every_host_that_a_request_names_has_to_be_good() {
    let fixture = Fixture::new();
    let ask = async |hosts: &[&str], address: &str| {
        let mut request = request(&format!("GET {address}"), "");
        let headers = request.headers_mut();
        headers.remove("host");
        for host in hosts {
            let host = HeaderValue::from_bytes(host.as_bytes()).unwrap();
            headers.append("host", host);
        }
        fixture.send(request).await.status
    };
    let good = "localhost:11434";
    assert_eq!(ask(&[], "/").await, 200);
    assert_eq!(ask(&[good], "http://localhost:11434/").await, 200);
    assert_eq!(ask(&[], "http://127.0.0.1/").await, 200);
    for (hosts, address) in [
        (vec![good, "evil.com"], "/"),
        (vec!["evil.com", good], "/"),
        (vec![good], "http://evil.com/"),
        (vec!["evil.com"], "http://localhost/"),
        (vec![], "http://evil.com/"),
        (vec!["evil.com\u{e9}"], "/"),
        (vec!["localhost,evil.com"], "/"),
        (vec!["evil.com@localhost"], "/"),
    ] {
        assert_eq!(ask(&hosts, address).await, 403, "{hosts:?} {address}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_in_the_routes_shape() {
    let fixture = Fixture::with(|config| config.max_body_bytes = 100);
    let large = json!({"model": "m", "prompt": "x".repeat(100)});
    let answer = fixture.post("/api/generate", large).await;
    assert_eq!(answer.status, 413);
    assert!(answer.json()["error"].is_string());
}

#[tokio::test]
async fn a_panic_costs_one_answer() {
    async fn broken() -> Response {
        panic!("a bug")
    }
    let fixture = Fixture::new();
    let router = fixture.router(Router::new().route("/broken", get(broken)));
    let answer = answer(router, request("GET /broken", "")).await;
    assert_eq!((answer.status, answer.body.as_str()), (500, ""));
    assert_ne!(answer.header("x-request-id"), "");
}

#[tokio::test]
async fn requests_without_an_answer_get_one_at_the_end() {
    let fixture = Fixture::new();
    let routes = || {
        Router::new()
            .route("/api/x", get(pending::<Response>))
            .route("/v1/x", get(pending::<Response>))
    };
    fixture.app.cut_off.cancel();
    let native = answer(fixture.router(routes()), request("GET /api/x", "")).await;
    assert_eq!(native.status, 503);
    assert_eq!(
        native.json(),
        json!({"error": "the server is shutting down"})
    );
    let openai = answer(fixture.router(routes()), request("GET /v1/x", "")).await;
    assert_eq!(openai.status, 503);
    assert_eq!(openai.json()["error"]["type"], "api_error");
}

#[tokio::test]
async fn answers_are_identified() {
    let fixture = Fixture::new();
    let own = fixture.call("GET /", "").await;
    assert!(own.header("x-request-id").starts_with("req_"));
    assert_eq!(own.header("x-drover-version"), env!("CARGO_PKG_VERSION"));
    for (given, kept) in [("abc-1", true), ("a b", false), ("x\"y", false)] {
        let mut request = request("GET /", "");
        let id = given.parse().unwrap();
        request.headers_mut().insert("x-request-id", id);
        let answer = fixture.send(request).await;
        assert_eq!(answer.header("x-request-id") == given, kept, "{given}");
    }
}
