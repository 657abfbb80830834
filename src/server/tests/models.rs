//! `tags`, `show`, `ps`, and the answers of generate and chat that need no runner.

use serde_json::{Value, json};

use super::{Fixture, request};
use crate::model::gguf::builder::GgufBuilder;

#[tokio::test]
async fn nothing_is_an_empty_list() {
    let fixture = Fixture::new();
    for path in ["/api/tags", "/api/ps"] {
        let answer = fixture.call(&format!("GET {path}"), "").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "{\"models\":[]}")
        );
    }
}

#[tokio::test]
async fn tags_have_what_clients_read() {
    let fixture = Fixture::new();
    fixture.add_model("Chat");
    let odd = json!({"model_families": null, "file_type": "unknown", "model_type": ""});
    let embedding = GgufBuilder::model("bert").value("bert.pooling_type", 1);
    fixture.add("user/embed:tiny", &odd, embedding);
    let tags = fixture.call("GET /api/tags", "").await.json();
    let models = tags["models"].as_array().unwrap();
    let named = |name: &str| models.iter().find(|model| model["name"] == name).unwrap();
    let chat = named("Chat:latest");
    assert_eq!(chat["model"], "Chat:latest");
    assert_eq!(chat["digest"].as_str().unwrap().len(), 64);
    assert!(chat["size"].as_u64().unwrap() > 0);
    assert!(chat["modified_at"].as_str().unwrap().starts_with("20"));
    assert_eq!(
        chat["details"],
        json!({"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
            "parameter_size": "8.0B", "quantization_level": "Q4_K_M",
            "context_length": 128, "embedding_length": 32})
    );
    assert_eq!(chat["capabilities"], json!(["completion"]));
    let embed = named("user/embed:tiny");
    assert_eq!(embed["details"]["families"], Value::Null);
    assert_eq!(embed["details"]["quantization_level"], "Q8_0");
    assert_eq!(embed["details"]["parameter_size"], "288");
    assert_eq!(embed["capabilities"], json!(["embedding"]));
}

#[tokio::test]
async fn a_model_without_its_weights_is_still_listed() {
    let fixture = Fixture::new();
    fixture.add_model("m");
    for name in fixture.blobs() {
        let path = fixture.app.store.root().join("blobs").join(name);
        if fs_err::read(&path).unwrap().starts_with(b"GGUF") {
            fs_err::write(&path, "rubbish").unwrap();
        }
    }
    let tags = fixture.call("GET /api/tags", "").await;
    assert_eq!(
        tags.json()["models"][0]["name"],
        "m:latest",
        "{}",
        tags.body
    );
}

#[tokio::test]
async fn show_has_what_clients_read() {
    let fixture = Fixture::new();
    let gguf = GgufBuilder::model("llama")
        .value("general.name", "hidden")
        .value("tokenizer.chat_template", "{{ messages }} tools")
        .value("tokenizer.ggml.tokens", vec!["t"; 2000])
        .value("llama.list", vec![1, 2]);
    fixture.add("m", &json!({}), gguf);
    let answer = fixture.post("/api/show", json!({"name": "M"})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let show = answer.json();
    assert_eq!(show["system"], "Be <brief>.");
    assert_eq!(show["template"], "{{ messages }} tools");
    assert_eq!(
        show["parameters"],
        "num_ctx                        64\nstop                           \"<|end|>\""
    );
    let modelfile = show["modelfile"].as_str().unwrap();
    assert!(modelfile.contains("# FROM m:latest\n"), "{modelfile}");
    assert!(modelfile.contains("\nFROM /"), "{modelfile}");
    assert!(
        modelfile.contains("\nPARAMETER stop <|end|>\n"),
        "{modelfile}"
    );
    assert!(!modelfile.contains("TEMPLATE"), "{modelfile}");
    let info = &show["model_info"];
    assert_eq!(info["general.architecture"], "llama");
    assert_eq!(info["general.parameter_count"], 288);
    assert_eq!(info["llama.list"], json!([1, 2]));
    assert_eq!(info["tokenizer.ggml.tokens"], Value::Null);
    assert!(
        info.as_object()
            .unwrap()
            .contains_key("tokenizer.ggml.tokens")
    );
    assert_eq!(info.get("general.name"), None);
    assert_eq!(info.get("tokenizer.chat_template"), None);
    assert_eq!(
        show["tensors"][0],
        json!({"name": "token_embd.weight", "type": "Q8_0", "shape": [32, 8]})
    );
    assert_eq!(show["capabilities"], json!(["tools", "completion"]));
    assert!(answer.body.contains("Be \\u003cbrief\\u003e."));
}

#[tokio::test]
async fn show_can_be_asked_for_more() {
    let fixture = Fixture::new();
    let gguf = GgufBuilder::model("llama").value("tokenizer.ggml.tokens", vec!["t"; 2000]);
    fixture.add("m", &json!({}), gguf);
    let body = json!({"model": "m", "verbose": true, "system": "Other.", "options": {"seed": 7}});
    let show = fixture.post("/api/show", body).await.json();
    let tokens = &show["model_info"]["tokenizer.ggml.tokens"];
    assert_eq!(tokens.as_array().unwrap().len(), 2000);
    assert_eq!(show["system"], "Other.");
    let modelfile = show["modelfile"].as_str().unwrap();
    assert!(modelfile.contains("PARAMETER seed 7"), "{modelfile}");
    assert!(!show["parameters"].as_str().unwrap().contains("seed"));
    let mut copilot = request("POST /api/show", json!({"model": "m"}).to_string());
    let agent = "GitHubCopilotChat/1.0".parse().unwrap();
    copilot.headers_mut().insert("user-agent", agent);
    let show = fixture.send(copilot).await.json();
    assert_eq!(show["model_info"]["general.basename"], "m");
}

#[tokio::test]
async fn a_cloud_stub_is_shown_and_not_run() {
    let fixture = Fixture::new();
    let stub = json!({"remote_host": "https://ollama.com", "remote_model": "big"});
    fixture.add("stub", &stub, GgufBuilder::model("llama"));
    let show = fixture.post("/api/show", json!({"model": "stub"})).await;
    assert_eq!(show.json()["remote_model"], "big");
    let local = fixture
        .post("/api/show", json!({"model": "stub:local"}))
        .await;
    assert_eq!(local.status, 404);
    let chat = json!({"model": "stub", "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(fixture.post("/api/chat", chat).await.status, 403);
}

#[tokio::test]
async fn unloading_is_one_plain_object() {
    let fixture = Fixture::new();
    fixture.add_model("m");
    let generate = json!({"model": "M:latest", "keep_alive": 0, "stream": true});
    let answer = fixture.post("/api/generate", generate).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.header("content-type"),
        "application/json; charset=utf-8"
    );
    let mut object = answer.json();
    assert!(object["created_at"].take().as_str().unwrap().ends_with('Z'));
    assert_eq!(
        object,
        json!({"model": "M:latest", "created_at": null, "response": "", "done": true, "done_reason": "unload"})
    );
    let chat = json!({"model": "m", "keep_alive": "0s", "messages": []});
    let object = fixture.post("/api/chat", chat).await.json();
    assert_eq!(object["done_reason"], "unload");
    assert_eq!(
        object["message"],
        json!({"role": "assistant", "content": ""})
    );
}

#[tokio::test]
async fn requests_that_a_model_cannot_serve_are_told_before_it_is_loaded() {
    let fixture = Fixture::new();
    fixture.add_model("m");
    let embedding = GgufBuilder::model("bert").value("bert.pooling_type", 1);
    fixture.add("e", &json!({}), embedding);
    let message = json!([{"role": "user", "content": "x"}]);
    for (path, body, status, text) in [
        (
            "/api/chat",
            json!({"model": "e", "messages": message}),
            400,
            "\"e\" does not support chat",
        ),
        (
            "/api/generate",
            json!({"model": "e"}),
            400,
            "\"e\" does not support generate",
        ),
        (
            "/api/chat",
            json!({"model": "m", "messages": message, "think": true}),
            400,
            "\"m\" does not support thinking",
        ),
        (
            "/api/chat",
            json!({"model": "m", "messages": message, "tools": [{"type": "function", "function": {"name": "f"}}]}),
            400,
            "registry.ollama.ai/library/m:latest does not support tools",
        ),
        (
            "/api/generate",
            json!({"model": "m", "prompt": "x", "raw": true, "system": "y"}),
            400,
            "raw mode does not support template, system, or context",
        ),
        (
            "/api/generate",
            json!({"model": "m", "prompt": "x", "options": {"seed": "y"}}),
            500,
            "option \"seed\" must be of type integer",
        ),
        (
            "/api/generate",
            json!({"model": "m", "prompt": "x", "format": "xml"}),
            500,
            "invalid format: \"\\\"xml\\\"\"; expected \"json\" or a valid JSON Schema object",
        ),
    ] {
        let answer = fixture.post(path, body).await;
        assert_eq!(
            (answer.status, answer.json()),
            (status, json!({"error": text}))
        );
    }
}

#[tokio::test]
async fn a_load_that_fails_is_a_status() {
    let fixture = Fixture::new();
    fixture.add_model("m");
    for stream in [true, false] {
        let body = json!({"model": "m", "prompt": "x", "stream": stream});
        let answer = fixture.post("/api/generate", body).await;
        assert_eq!(answer.status, 500, "{}", answer.body);
        assert!(answer.json()["error"].is_string());
    }
}
