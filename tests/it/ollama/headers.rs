//! Headers with numbers that no model has, in files that bypassed `create`: a pull accepts any file.

use std::time::{Duration, Instant};

use drover::model::gguf::builder::GgufBuilder;
use drover::model::{Manifest, ModelName, manifest as media};
use drover::store::Store;
use serde_json::{Value, json};

use crate::support::TestServer;

/// Puts a model into the store as a pull does.
fn pulled(server: &TestServer, name: &str, layers: &[(&str, GgufBuilder)]) {
    let store = Store::open(&server.store()).unwrap();
    let layers = layers.iter();
    let layers = layers.map(|(kind, file)| store.write_layer(kind, &file.build()).unwrap());
    let config = store.write_layer(media::MEDIA_CONFIG, b"{}").unwrap();
    let manifest = Manifest::new(config, layers.collect());
    let name = ModelName::parse(name).unwrap();
    store.write_manifest(&name, &manifest).unwrap();
}

fn fake() -> GgufBuilder {
    GgufBuilder::model("drover-fake").value("drover-fake.context_length", 2048)
}

fn ask(model: &str, options: Value) -> Value {
    json!({"model": model, "prompt": "hello", "stream": false, "options": options})
}

#[tokio::test]
async fn a_number_that_no_model_has_costs_its_own_requests_an_error() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    let huge = u64::from(u32::MAX);
    for (key, value) in [
        ("block_count", json!(i32::MAX)),
        ("block_count", json!(-1)),
        ("context_length", json!(huge)),
        ("embedding_length", json!(huge)),
        ("attention.head_count_kv", json!(huge)),
        ("attention.head_count_kv", json!([1])),
        ("attention.sliding_window", json!(huge)),
    ] {
        let key = format!("drover-fake.{key}");
        let file = fake().value(&key, value.clone());
        pulled(&server, "bad", &[(media::MEDIA_MODEL, file)]);
        let started = Instant::now();
        let answer = server.post("/api/generate", &ask("bad", json!({}))).await;
        assert_eq!(answer.status, 500, "{key} {value}: {}", answer.text);
        assert!(answer.error().contains(&key), "{value}: {}", answer.text);
        for path in ["/api/ps", "/api/tags", "/v1/models"] {
            server.get(path).await.ok();
        }
        for verbose in [false, true] {
            let body = json!({"model": "bad", "verbose": verbose});
            server.post("/api/show", &body).await.ok();
        }
        server
            .post("/api/generate", &ask("tiny", json!({})))
            .await
            .ok();
        assert!(started.elapsed() < Duration::from_secs(10), "{key} {value}");
    }
}

#[tokio::test]
async fn the_same_holds_for_projectors_and_a_bad_draft_model_is_left_out() {
    let server = TestServer::start().await;
    let projector = GgufBuilder::new("clip").value("clip.vision.patch_size", 0);
    let layers = [
        (media::MEDIA_MODEL, fake()),
        (media::MEDIA_PROJECTOR, projector),
    ];
    pulled(&server, "blind", &layers);
    let answer = server.post("/api/generate", &ask("blind", json!({}))).await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert!(
        answer.error().contains("clip.vision.patch_size"),
        "{}",
        answer.text
    );
    let draft = fake().value("drover-fake.block_count", i32::MAX);
    let layers = [(media::MEDIA_MODEL, fake()), (media::MEDIA_DRAFT, draft)];
    pulled(&server, "slow", &layers);
    server
        .post("/api/generate", &ask("slow", json!({})))
        .await
        .ok();
}

#[tokio::test]
async fn options_of_a_load_have_bounds() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    for n in [i64::MAX, i64::from(i32::MIN), -1, 0, 1] {
        let options = json!({"num_ctx": n.max(64), "num_batch": n, "num_gpu": n, "main_gpu": n,
            "draft_num_predict": n, "num_predict": 4});
        server
            .post("/api/generate", &ask("tiny", options))
            .await
            .ok();
    }
}

#[tokio::test]
async fn large_headers_are_not_kept() {
    let server = TestServer::start().await;
    let n_start = server.peak_bytes();
    for n in 0..4 {
        let file = fake().value("list", vec![n; 1 << 19]);
        let name = format!("large{n}");
        pulled(&server, &name, &[(media::MEDIA_MODEL, file)]);
        server
            .post("/api/generate", &ask(&name, json!({})))
            .await
            .ok();
    }
    // Four arrays of 2 MiB in the files.
    let n_more = server.peak_bytes().saturating_sub(n_start);
    assert!(n_more < 16 << 20, "{n_more} bytes more");
}
