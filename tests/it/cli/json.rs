//! `--json`: what other programs read; fields may be added, but not removed.

use serde_json::{Value, json};

use crate::support::{Drover, TestServer};

#[tokio::test]
async fn list_ps_and_show_print_the_servers_answer() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    server.fake_model("other").await;
    let drover = Drover::of(&server);
    let run = async |args: &[&str]| -> Value {
        serde_json::from_str(&drover.run(args).await.ok()).unwrap()
    };
    let listed = run(&["list", "--json", "TI"]).await;
    let [model] = listed["models"].as_array().unwrap().as_slice() else {
        panic!("one model: {listed}")
    };
    has_fields(
        model,
        &["name", "model", "modified_at", "size", "digest", "details"],
    );
    assert_eq!(model["name"], "tiny:latest");
    assert!(model["size"].as_u64().unwrap() > 0);
    has_fields(
        &model["details"],
        &[
            "format",
            "family",
            "families",
            "parameter_size",
            "quantization_level",
        ],
    );

    assert_eq!(run(&["ps", "--json"]).await, json!({"models": []}));
    let load = json!({"model": "tiny", "keep_alive": -1});
    server.post("/api/generate", &load).await.ok();
    let loaded = run(&["ps", "--json", "tiny"]).await;
    let model = &loaded["models"][0];
    has_fields(
        model,
        &[
            "name",
            "model",
            "size",
            "size_vram",
            "digest",
            "details",
            "expires_at",
            "context_length",
        ],
    );
    assert_eq!(run(&["ps", "--json", "no"]).await, json!({"models": []}));

    let shown = run(&["show", "--json", "tiny"]).await;
    has_fields(
        &shown,
        &[
            "modelfile",
            "parameters",
            "template",
            "details",
            "model_info",
            "capabilities",
            "modified_at",
        ],
    );
    assert_eq!(shown["capabilities"], json!(["completion"]));
    let error = drover.run(&["show", "--json", "nobody"]).await.failed();
    assert!(error.starts_with("Error: model 'nobody"), "{error}");
}

#[track_caller]
fn has_fields(object: &Value, names: &[&str]) {
    for name in names {
        assert!(object.get(name).is_some(), "{name} in {object}");
    }
}
