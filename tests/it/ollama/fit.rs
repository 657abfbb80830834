//! Where a model would be placed: reported without loading it, and true when it is loaded.

use serde_json::{Value, json};

use super::real::with_model;
use crate::support::{Drover, TestServer};

const MODEL: &str = "smollm2-135m";

async fn fit(server: &TestServer, body: Value) -> Value {
    server.post("/api/fit", &body).await.ok().json()
}

/// Bytes of the system's memory, by their use.
fn host(fit: &Value, part: &str) -> u64 {
    let device = fit["devices"].as_array().unwrap().last().unwrap();
    assert_eq!(device["name"], "CPU");
    device[part].as_u64().unwrap()
}

#[tokio::test]
async fn a_model_takes_what_was_told_before_it_was_loaded() {
    let Some(server) = with_model(MODEL).await else {
        return;
    };
    let told = fit(&server, json!({"model": MODEL, "num_ctx": 4096})).await;
    assert_eq!(
        (&told["measured"], &told["loaded"]),
        (&json!(true), &json!(false)),
        "{told}"
    );
    assert!(server.runners().is_empty(), "nothing was loaded");
    assert_eq!((&told["layers"], &told["slots"]), (&json!(30), &json!(8)));
    let sum: u64 = ["weights", "kv", "compute", "projector", "draft"]
        .map(|part| host(&told, part))
        .iter()
        .sum();
    assert_eq!(host(&told, "size"), sum);
    assert!(
        told["context_length"].as_u64().unwrap() >= 8 * 4096,
        "{told}"
    );

    let load = json!({"model": MODEL, "options": {"num_ctx": 4096}});
    server.post("/api/generate", &load).await.ok();
    let loaded = server.get("/api/ps").await.ok().json();
    let taken = loaded["models"][0]["size"].as_u64().unwrap();
    // A mapped file counts completely, in addition to tensors that were copied in another form.
    let allowed = sum / 33 + (32 << 20);
    assert!(taken.abs_diff(sum) <= allowed, "{taken} instead of {sum}");
    assert_eq!(fit(&server, json!({"model": MODEL})).await["loaded"], true);
}

#[tokio::test]
async fn other_settings_can_be_tried() {
    let Some(server) = with_model(MODEL).await else {
        return;
    };
    let plain = fit(&server, json!({"model": MODEL})).await;
    let small = json!({"model": MODEL, "kv_cache_type": "q8_0", "slots": 2, "num_ctx": 2048});
    let small = fit(&server, small).await;
    assert_eq!(
        (&small["kv_cache_type"], &small["slots"]),
        (&json!("q8_0"), &json!(2))
    );
    assert!(host(&small, "kv") < host(&plain, "kv"), "{small} {plain}");
    let slots: Vec<u64> = plain["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| choice["slots"].as_u64().unwrap())
        .collect();
    assert_eq!(slots, [1, 2, 4, 8, 16]);
    let shown = server
        .post("/api/show", &json!({"model": MODEL, "fit": true}))
        .await
        .ok()
        .json();
    assert_eq!(shown["fit"]["layers"], 30);
    let shown = server
        .post("/api/show", &json!({"model": MODEL}))
        .await
        .ok()
        .json();
    assert!(shown.get("fit").is_none(), "only where it is asked for");

    let drover = Drover::of(&server);
    let text = drover
        .run(&["fit", MODEL, "--slots", "2", "--kv", "q8_0"])
        .await
        .ok();
    assert!(text.contains("2 slots share"), "{text}");
    assert!(text.contains("of q8_0 cache"), "{text}");
    let json = drover.run(&["fit", MODEL, "--json"]).await.ok();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["layers"], 30);
}

#[tokio::test]
async fn mistakes_are_named() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    for (body, status, part) in [
        (json!({"model": "nobody"}), 404, "not found"),
        (json!({}), 400, "model is required"),
        (json!({"model": "tiny", "kv_cache_type": "q9"}), 400, "q8_0"),
        (json!({"model": "tiny", "slots": 0}), 400, "slots"),
        (json!({"model": "tiny", "num_ctx": "x"}), 400, "num_ctx"),
    ] {
        let answer = server.post("/api/fit", &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert!(answer.error().contains(part), "{body}: {}", answer.text);
    }
    // What llama.cpp cannot measure is estimated.
    assert_eq!(
        fit(&server, json!({"model": "tiny"})).await["measured"],
        false
    );
}
