//! API keys on all routes.

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Fixture};
use crate::keys::{Scope, Wish};
use crate::server::access::Need;
use crate::server::origin::Peer;
use crate::server::router::table;

const ELSEWHERE: &str = "203.0.113.9:4711";
const HERE: &str = "127.0.0.1:4711";

fn key(fixture: &Fixture, wish: Wish) -> String {
    let created = fixture.app.keys.create(wish, Timestamp::now());
    created.unwrap().0.reveal().to_owned()
}

fn wish(name: &str, scopes: &[Scope]) -> Wish {
    Wish {
        name: name.to_owned(),
        scopes: scopes.iter().copied().collect(),
        ..Wish::default()
    }
}

/// Sends `METHOD PATH` from an address, with lines of headers.
async fn ask(fixture: &Fixture, line: &str, peer: &str, headers: &[(&str, &str)]) -> Answer {
    send(fixture, line, peer, headers, "").await
}

async fn send(
    fixture: &Fixture,
    line: &str,
    peer: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .extension(ConnectInfo(Peer(peer.parse().unwrap())));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    fixture.send(request).await
}

/// A path that a route of the table answers.
fn example(path: &str) -> String {
    let parts = path
        .split('/')
        .map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_route_asks_for_its_scope() {
    let fixture = Fixture::new();
    let keys = Scope::ALL.map(|scope| key(&fixture, wish(scope.as_str(), &[scope])));
    for line in table().lines() {
        for method in line.methods.split(", ") {
            let asked = format!("{method} {}", example(line.path));
            let without = ask(&fixture, &asked, ELSEWHERE, &[]).await;
            let Need::Scope(needed) = Need::of(line.path) else {
                assert!(!matches!(without.status, 401 | 403), "{asked}");
                continue;
            };
            assert_eq!(without.status, 401, "{asked}");
            assert!(
                without.header("www-authenticate").starts_with("Bearer"),
                "{asked}"
            );
            for (scope, key) in Scope::ALL.into_iter().zip(&keys) {
                let is_allowed = scope == needed || scope == Scope::Admin;
                // This stream has no end.
                if is_allowed && line.path == "/api/drover/events" {
                    continue;
                }
                let bearer = format!("Bearer {key}");
                let answer = ask(&fixture, &asked, ELSEWHERE, &[("authorization", &bearer)]).await;
                if is_allowed {
                    // (Some routes of Ollama's cloud say 401 and 403 themselves, without our codes.)
                    let text = &answer.body;
                    let is_ours = ["API key", "missing_scope", "invalid_api_key"];
                    assert!(
                        !is_ours.iter().any(|word| text.contains(word)),
                        "{asked} {scope}: {text}"
                    );
                } else {
                    assert_eq!(answer.status, 403, "{asked} {scope}");
                }
            }
        }
    }
}

#[tokio::test]
async fn refusals_have_each_protocols_shape() {
    let fixture = Fixture::new();
    let inference = key(&fixture, wish("inference", &[Scope::Inference]));
    let wrong = [("x-api-key", "drover_wrong")];
    let type_of = |answer: &Answer| answer.json()["error"]["type"].clone();
    let ollama = ask(&fixture, "POST /api/chat", ELSEWHERE, &wrong).await;
    assert_eq!(
        (ollama.status, ollama.json()["error"].is_string()),
        (401, true)
    );
    for path in [
        "POST /v1/chat/completions",
        "GET /v1/models",
        "POST /rerank",
        "POST /tokenize",
    ] {
        let openai = ask(&fixture, path, ELSEWHERE, &wrong).await;
        assert_eq!(
            (openai.status, type_of(&openai)),
            (401, json!("invalid_request_error")),
            "{path}"
        );
        assert_eq!(openai.json()["error"]["code"], "invalid_api_key", "{path}");
        let missing = ask(&fixture, path, ELSEWHERE, &[]).await;
        assert_eq!(missing.json()["error"]["code"], "missing_api_key", "{path}");
    }
    let anthropic = ask(&fixture, "POST /v1/messages", ELSEWHERE, &wrong).await;
    assert_eq!(
        (anthropic.status, type_of(&anthropic)),
        (401, json!("authentication_error"))
    );
    let headers = [("anthropic-version", "2023-06-01"), wrong[0]];
    let shared = ask(&fixture, "GET /v1/models", ELSEWHERE, &headers).await;
    assert_eq!(
        (shared.status, type_of(&shared)),
        (401, json!("authentication_error"))
    );
    let ours = [("x-api-key", inference.as_str())];
    let metrics = ask(&fixture, "GET /metrics", ELSEWHERE, &ours).await;
    assert_eq!(
        (metrics.status, metrics.json()["error"].is_string()),
        (403, true)
    );
}

#[tokio::test]
async fn this_machine_needs_no_key_unless_it_is_told_so() {
    let fixture = Fixture::new();
    let tags = "GET /api/tags";
    let real = key(&fixture, wish("one", &[Scope::Metrics]));
    let status =
        async |peer, headers: &[(&str, &str)]| ask(&fixture, tags, peer, headers).await.status;
    assert_eq!(status(HERE, &[]).await, 200);
    assert_eq!(status("[::1]:1", &[]).await, 200);
    // The placeholder that people give OpenAI's clients when there is no key.
    assert_eq!(
        status(HERE, &[("authorization", "Bearer ollama")]).await,
        200
    );
    // But a text in our format counts as a key.
    assert_eq!(
        status(HERE, &[("authorization", "Bearer drover_old")]).await,
        401
    );
    assert_eq!(status(HERE, &[("x-api-key", &real)]).await, 403);
    // A request through a proxy on this machine is not local.
    for name in ["x-forwarded-for", "forwarded", "via", "x-real-ip"] {
        assert_eq!(status(HERE, &[(name, "127.0.0.1")]).await, 401, "{name}");
    }
    let fixture = Fixture::with(|config| config.access.keys_on_loopback = true);
    // No keys are defined: everything is allowed.
    assert_eq!(ask(&fixture, tags, ELSEWHERE, &[]).await.status, 200);
    key(&fixture, wish("one", &[]));
    assert_eq!(ask(&fixture, tags, HERE, &[]).await.status, 401);
    let stand_in = [("authorization", "Bearer ollama")];
    assert_eq!(ask(&fixture, tags, HERE, &stand_in).await.status, 401);
}

#[tokio::test]
async fn everybody_may_do_what_the_setting_says() {
    let scopes = [Scope::Metrics].into_iter().collect();
    let fixture = Fixture::with(|config| config.access.anonymous = scopes);
    key(&fixture, wish("one", &[]));
    assert_eq!(
        ask(&fixture, "GET /metrics", ELSEWHERE, &[]).await.status,
        200
    );
    assert_eq!(
        ask(&fixture, "GET /api/tags", ELSEWHERE, &[]).await.status,
        401
    );
    let wrong = [("x-api-key", "drover_wrong")];
    assert_eq!(
        ask(&fixture, "GET /metrics", ELSEWHERE, &wrong)
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn keys_are_managed_here_or_by_an_administrator() {
    let fixture = Fixture::new();
    let body = |name: &str| json!({"name": name, "scopes": ["admin"]}).to_string();
    let create = "POST /api/keys";
    // Whoever made the first key would lock out the rest.
    assert_eq!(
        send(&fixture, create, ELSEWHERE, &[], &body("x"))
            .await
            .status,
        403
    );
    let proxied = [("x-forwarded-for", "127.0.0.1")];
    assert_eq!(
        send(&fixture, create, HERE, &proxied, &body("x"))
            .await
            .status,
        403
    );
    let page = [("origin", "http://localhost:3000")];
    assert_eq!(
        send(&fixture, create, HERE, &page, &body("x")).await.status,
        403
    );
    let created = send(&fixture, create, HERE, &[], &body("boss")).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let boss = created.json()["key"].as_str().unwrap().to_owned();
    let admin = [("x-api-key", boss.as_str())];
    let listed = ask(&fixture, "GET /api/keys", ELSEWHERE, &admin).await;
    assert_eq!(listed.json()["keys"][0]["name"], "boss");
    assert!(
        !listed.body.contains(&boss) && !listed.body.contains("hash"),
        "{}",
        listed.body
    );
    for (body, status) in [
        (json!({"name": "boss"}), 409),
        (json!({"name": "a b"}), 400),
        (json!({"name": "a", "scopes": ["root"]}), 400),
        (json!({"name": "a", "limits": {"queue": 1}}), 400),
        (json!({"name": "a", "expires": "2020-01-01T00:00:00Z"}), 400),
        (
            json!({"name": "a", "limits": {"requests": 1}, "models": ["m"]}),
            201,
        ),
    ] {
        let answer = send(&fixture, create, ELSEWHERE, &admin, &body.to_string()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    let delete = async |path: &str| {
        ask(&fixture, &format!("DELETE {path}"), ELSEWHERE, &admin)
            .await
            .status
    };
    assert_eq!(delete("/api/keys/nobody").await, 404);
    assert_eq!(delete("/api/keys/a").await, 200);
    assert_eq!(delete("/api/keys/boss").await, 409);
    assert_eq!(delete("/api/keys/boss?last=true").await, 200);
    assert_eq!(
        ask(&fixture, "GET /api/tags", ELSEWHERE, &[]).await.status,
        200
    );
}

#[tokio::test]
async fn a_key_sees_and_uses_its_models_only() {
    let fixture = Fixture::new();
    for name in ["one", "two", "team/three"] {
        fixture.add_model(name);
    }
    let limited = Wish {
        models: vec!["one".to_owned(), "team/*".to_owned()],
        ..wish("limited", &[Scope::Inference, Scope::Models])
    };
    let limited = key(&fixture, limited);
    let headers = [("x-api-key", limited.as_str())];
    let names = |answer: &Answer, list: &str, field: &str| {
        let list = answer.json()[list].as_array().unwrap().clone();
        let mut names: Vec<_> = list
            .iter()
            .map(|entry| entry[field].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let expected = ["one:latest", "team/three:latest"];
    let tags = ask(&fixture, "GET /api/tags", ELSEWHERE, &headers).await;
    assert_eq!(names(&tags, "models", "name"), expected);
    let models = ask(&fixture, "GET /v1/models", ELSEWHERE, &headers).await;
    assert_eq!(names(&models, "data", "id"), expected);
    let chat = json!({"model": "two", "messages": [{"role": "user", "content": "x"}]});
    let copies = json!({"source": "two", "destination": "one"});
    let copy_out = json!({"source": "one", "destination": "four"});
    for (line, body) in [
        ("POST /api/chat", &chat),
        ("POST /v1/chat/completions", &chat),
        (
            "POST /v1/messages",
            &json!({"model": "two", "max_tokens": 5, "messages": chat["messages"]}),
        ),
        (
            "POST /api/generate",
            &json!({"model": "two", "prompt": "x"}),
        ),
        ("POST /api/embed", &json!({"model": "two", "input": "x"})),
        (
            "POST /v1/embeddings",
            &json!({"model": "two", "input": "x"}),
        ),
        (
            "POST /rerank",
            &json!({"model": "two", "query": "x", "documents": ["y"]}),
        ),
        (
            "POST /v1/systemone",
            &json!({"model": "two", "state": "x", "questions": {"q": {"type": "noul"}}}),
        ),
        (
            "POST /v1/decisions",
            &json!({"model": "two", "input": "x", "questions": [{"type": "predicate", "instructions": "y"}]}),
        ),
        ("POST /tokenize", &json!({"model": "two", "content": "x"})),
        ("POST /v1/responses", &json!({"model": "two", "input": "x"})),
        ("POST /api/show", &json!({"model": "two"})),
        ("GET /v1/models/two", &Value::Null),
        ("GET /props?model=two", &Value::Null),
        ("POST /api/copy", &copies),
        ("POST /api/copy", &copy_out),
        ("DELETE /api/delete", &json!({"model": "two"})),
        ("POST /api/pull", &json!({"model": "two"})),
        ("POST /api/push", &json!({"model": "two"})),
        ("POST /api/create", &json!({"model": "two", "from": "one"})),
        ("POST /api/create", &json!({"model": "one", "from": "two"})),
    ] {
        let answer = send(&fixture, line, ELSEWHERE, &headers, &body.to_string()).await;
        assert_eq!(answer.status, 403, "{line} {body}: {}", answer.body);
        assert!(
            answer.body.contains("does not have access"),
            "{line}: {}",
            answer.body
        );
    }
    let copy_in = json!({"source": "one", "destination": "team/four"}).to_string();
    assert_eq!(
        send(&fixture, "POST /api/copy", ELSEWHERE, &headers, &copy_in)
            .await
            .status,
        200
    );
    let show = json!({"model": "team/three"}).to_string();
    assert_eq!(
        send(&fixture, "POST /api/show", ELSEWHERE, &headers, &show)
            .await
            .status,
        200
    );
}
