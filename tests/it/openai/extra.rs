//! Reranking and the routes of llama-server and vLLM.

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::models::{embedder, fake};
use crate::support::real::{real, skip};

/// A server with a reranker `r` of the fake backend and a chat model `tiny`.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let reranker = embedder().value("drover-fake.pooling_type", 4);
    server.create("r", reranker.build(), json!({})).await.ok();
    server.fake_model("tiny").await;
    server
}

#[tokio::test]
async fn documents_are_ranked_in_every_servers_form() {
    let server = server().await;
    let documents = ["a", "bc", "def"];
    let mut body = json!({"model": "r", "query": "q", "documents": documents});
    let ranked = server.post("/v1/rerank", &body).await.ok().json();
    let results = ranked["results"].as_array().unwrap();
    let score = |result: &Value| result["relevance_score"].as_f64().unwrap();
    assert_eq!(results.len(), 3);
    assert!(
        results.is_sorted_by(|a, b| score(a) >= score(b)),
        "{ranked}"
    );
    assert!(ranked["usage"]["total_tokens"].as_u64() > Some(0));
    assert_eq!(ranked["object"], "list");

    body["top_n"] = 1.into();
    body["return_documents"] = true.into();
    body["documents"] = json!([{"text": "a"}, "bc", {"text": "def"}]);
    for path in ["/v2/rerank", "/rerank", "/v1/reranking", "/reranking"] {
        let best = server.post(path, &body).await.ok().json();
        let [result] = &best["results"].as_array().unwrap()[..] else {
            panic!("{best}");
        };
        assert_eq!(result["index"], results[0]["index"], "{path}");
        let index = usize::try_from(result["index"].as_u64().unwrap()).unwrap();
        assert_eq!(result["document"]["text"], documents[index]);
    }
    let texts = json!({"model": "r", "query": "q", "texts": documents, "return_text": true});
    let texts = server.post("/rerank", &texts).await.ok().json();
    assert_eq!(texts[0]["index"], results[0]["index"]);
    assert_eq!(texts[0]["score"], results[0]["relevance_score"]);
    assert!(texts[0]["text"].is_string());

    let pairs = json!({"model": "r", "text_1": "q", "text_2": documents});
    let scores = server.post("/v1/score", &pairs).await.ok().json();
    for result in results {
        let index = usize::try_from(result["index"].as_u64().unwrap()).unwrap();
        assert_eq!(scores["data"][index]["score"], result["relevance_score"]);
    }
}

#[tokio::test]
async fn requests_that_cannot_be_ranked_say_why() {
    let server = server().await;
    let plain = embedder().build();
    server.create("vectors", plain, json!({})).await.ok();
    let long = "q".repeat(1 << 16);
    for (body, field) in [
        (json!({"model": "r", "documents": ["a"]}), "query"),
        (json!({"model": "r", "query": "q"}), "documents"),
        (
            json!({"model": "r", "query": "q", "documents": ["a"], "top_n": 0}),
            "top_n",
        ),
        (
            json!({"model": "vectors", "query": "q", "documents": ["a"]}),
            "model",
        ),
        (
            json!({"model": "r", "query": long, "documents": vec!["a"; 2000]}),
            "query",
        ),
        (json!({"query": "q", "documents": ["a"]}), "model"),
    ] {
        let refused = server.post("/v1/rerank", &body).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert_eq!(refused.json()["error"]["param"], field, "{}", refused.text);
    }
    let uneven = json!({"model": "r", "text_1": ["a", "b"], "text_2": ["a", "b", "c"]});
    assert_eq!(server.post("/v1/score", &uneven).await.status, 400);
}

#[tokio::test]
async fn a_chat_model_is_asked_about_each_document() {
    let Some(model) = real("smollm2-135m") else {
        return skip("no SmolLM2 in DROVER_TEST_MODELS");
    };
    let server = TestServer::start().await;
    let file = fs_err::read(&model).unwrap();
    server.create("smollm2", file, json!({})).await.ok();
    let body = json!({"model": "smollm2", "query": "capital of France",
        "documents": ["Paris is the capital of France.", "Bread is baked from flour."]});
    let ranked = server.post("/v1/rerank", &body).await.ok().json();
    for result in ranked["results"].as_array().unwrap() {
        let score = result["relevance_score"].as_f64().unwrap();
        assert!(score > 0.0 && score < 1.0, "{ranked}");
    }
}

#[tokio::test]
async fn texts_become_tokens_and_prompts() {
    let server = server().await;
    let ask = async |path: &str, body: Value| server.post(path, &body).await.ok().json();
    let tokens = ask("/tokenize", json!({"model": "tiny", "content": "a b"})).await;
    assert_eq!(tokens["count"], tokens["tokens"].as_array().unwrap().len());
    let back = json!({"model": "tiny", "tokens": tokens["tokens"]});
    assert_eq!(ask("/detokenize", back).await["content"], "a b");
    // Only one model is loaded, so the request needs no name.
    let special = ask("/tokenize", json!({"content": "<|im_end|>"})).await;
    assert_eq!(special["count"], 1);
    let plain = json!({"content": "<|im_end|>", "parse_special": false});
    assert!(ask("/tokenize", plain).await["count"].as_u64() > Some(1));
    let vllm = ask("/tokenize", json!({"prompt": "a b"})).await;
    assert!(vllm["count"].as_u64() >= tokens["count"].as_u64());

    let chat = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let prompt = ask("/apply-template", chat).await;
    assert_eq!(
        prompt["prompt"],
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    );
    let other = fake().value("general.name", "other").build();
    server.create("other", other, json!({})).await.ok();
    ask("/tokenize", json!({"model": "other", "content": "a"})).await;
    let unclear = server.post("/tokenize", &json!({"content": "a"})).await;
    assert_eq!(
        (unclear.status, &unclear.json()["error"]["param"]),
        (400, &json!("model"))
    );
}

#[tokio::test]
async fn what_is_loaded_is_told_as_llama_server_tells_it() {
    let server = server().await;
    let none = server.get("/props").await;
    assert_eq!(
        (none.status, &none.json()["error"]["param"]),
        (400, &json!("model"))
    );
    assert_eq!(server.get("/slots").await.ok().json(), json!([]));
    let body = json!({"model": "tiny", "prompt": "a", "stream": false});
    server.post("/api/generate", &body).await.ok();
    let props = server.get("/props").await.ok().json();
    assert_eq!(props["model_path"], "tiny:latest");
    assert!(
        props["chat_template"]
            .as_str()
            .unwrap()
            .contains("im_start"),
        "{props}"
    );
    assert_eq!(
        props["modalities"],
        json!({"vision": false, "audio": false})
    );
    assert!(props["default_generation_settings"]["n_ctx"].as_u64() > Some(0));
    let slots = server.get("/slots?model=tiny").await.ok().json();
    let slots = slots.as_array().unwrap();
    assert_eq!(props["total_slots"], slots.len());
    assert!(slots.iter().all(|slot| slot["is_processing"] == false));
    assert_eq!(server.get("/slots?model=r").await.ok().json(), json!([]));
    assert_eq!(server.get("/props?model=nobody").await.status, 404);
}

#[tokio::test]
async fn the_middle_is_filled_in() {
    let server = TestServer::start().await;
    let template = "{{ if .Suffix }}<|im_start|>user\n{{ .Prompt }}_{{ .Suffix }}<|im_end|>\n\
                    <|im_start|>assistant\n{{ end }}";
    let fields = json!({"template": template});
    server.create("coder", fake().build(), fields).await.ok();
    let mut body = json!({"model": "coder", "input_prefix": "ab", "prompt": "c", "input_suffix": "d",
        "input_extra": [{"filename": "f", "text": "t"}], "stop": ["d"]});
    let whole = server.post("/infill", &body).await.ok().json();
    assert_eq!(whole["content"], "f\nt\n\nabc_");
    assert_eq!(
        (&whole["stop_type"], &whole["stopping_word"]),
        (&json!("word"), &json!("d"))
    );
    assert!(whole["tokens_predicted"].as_u64() > Some(0));
    body["stream"] = true.into();
    body["n_predict"] = 3.into();
    let events = server.post("/infill", &body).await.ok().events();
    let text: String = events
        .iter()
        .map(|event| event["content"].as_str().unwrap())
        .collect();
    assert_eq!(text, "f\nt");
    assert_eq!(events.last().unwrap()["stop_type"], "limit");
    server.fake_model("tiny").await;
    body["model"] = "tiny".into();
    assert_eq!(server.post("/infill", &body).await.status, 400);
}
