//! The input of templates, which template is shown, and models without one.

use drover::model::gguf::builder::GgufBuilder;
use serde_json::{Value, json};

use crate::support::{Drover, TestServer, models};

/// A model for the fake backend without a template of any kind.
fn untaught() -> GgufBuilder {
    GgufBuilder::model("drover-fake").value("drover-fake.context_length", 4096)
}

impl TestServer {
    /// The prompt of a request, and how many images go with it.
    async fn prompt(&self, path: &str, mut body: Value) -> (String, u64) {
        body["model"] = "m".into();
        body["_debug_render_only"] = true.into();
        let answer = self.post(path, &body).await.ok().json();
        let shown = &answer["_debug_info"];
        let text = shown["rendered_template"].as_str().unwrap().to_owned();
        (text, shown["image_count"].as_u64().unwrap_or_default())
    }

    async fn shown_template(&self, model: &str) -> String {
        let shown = self.post("/api/show", &json!({ "model": model })).await;
        shown.ok().json()["template"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn prompts_go_as_they_are_to_a_model_without_a_template() {
    let server = TestServer::start().await;
    let digest = server.upload(untaught().build()).await;
    let create = json!({"model": "m", "files": {"m.gguf": digest}, "system": "S"});
    let told = server.stream("/api/create", &create).await.rest().await;
    let mut told = told.iter().filter_map(|line| line["status"].as_str());
    let said = told.find(|status| status.starts_with("no chat template: "));
    assert!(said.is_some());
    assert_eq!(server.shown_template("m").await, "{{ .Prompt }}");

    let generate = json!({"prompt": "a =", "system": "Be brief."});
    let prompt = server.prompt("/api/generate", generate).await;
    assert_eq!(prompt, ("a =".to_owned(), 0));
    let messages = json!([{"role": "user", "content": "hi"}]);
    let prompt = server.prompt("/api/chat", json!({ "messages": messages }));
    assert_eq!(
        prompt.await.0,
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    );

    // As many tokens as without a template, on every route.
    let raw = json!({"model": "m", "prompt": "a =", "raw": true, "stream": false});
    let raw = server.post("/api/generate", &raw).await.ok().json();
    let n_prompt = &raw["prompt_eval_count"];
    let body = json!({"model": "m", "prompt": "a ="});
    let answer = server.post("/v1/completions", &body).await.ok().json();
    assert_eq!(&answer["usage"]["prompt_tokens"], n_prompt);
    let run = Drover::of(&server)
        .run(&["run", "--verbose", "m", "a ="])
        .await;
    let counted = format!("prompt eval count:    {n_prompt} token(s)");
    assert!(run.stderr.contains(&counted), "{run:?}");
}

/// `OLLAMA_GO_TEMPLATE=0` switches it off for chats.
#[tokio::test]
async fn a_template_that_is_not_wanted_for_chats_still_makes_prompts() {
    let server = TestServer::builder()
        .env("OLLAMA_GO_TEMPLATE", "0")
        .start()
        .await;
    let fields = json!({"template": "Q: {{ .Prompt }} A:"});
    server.create("m", untaught().build(), fields).await.ok();
    assert_eq!(server.shown_template("m").await, "Q: {{ .Prompt }} A:");
    let prompt = server.prompt("/api/generate", json!({"prompt": "a ="}));
    assert_eq!(prompt.await.0, "Q: a = A:");
    let messages = json!([{"role": "user", "content": "hi"}]);
    let prompt = server.prompt("/api/chat", json!({ "messages": messages }));
    assert_eq!(
        prompt.await.0,
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    );
}

#[tokio::test]
async fn the_template_that_is_shown_is_the_one_in_force() {
    const GO: &str = "{{ .Tools }}{{ .Prompt }}";
    for (wanted, with_both) in [("", GO), ("1", GO), ("0", "jinja")] {
        let server = TestServer::builder()
            .env("OLLAMA_GO_TEMPLATE", wanted)
            .start()
            .await;
        let file = untaught().value("tokenizer.chat_template", "jinja");
        let renderer = json!({"template": GO, "renderer": "qwen3-coder"});
        for (fields, shown) in [
            (json!({}), "jinja"),
            (json!({ "template": GO }), with_both),
            (renderer, GO),
            (json!({"parser": "qwen3-coder"}), "jinja"),
        ] {
            server.create("m", file.build(), fields.clone()).await.ok();
            let template = server.shown_template("m").await;
            assert_eq!(template, shown, "{wanted:?} {fields}");
            // The Jinja template makes the same prompt for every route.
            let messages = json!([{"role": "user", "content": "hi"}]);
            let prompt = server.prompt("/api/chat", json!({ "messages": messages }));
            assert_eq!(prompt.await.0 == "jinja", shown == "jinja", "{fields}");
        }
        let said = Drover::of(&server).run(&["show", "--template", "m"]).await;
        assert_eq!(said.ok().trim(), "jinja");
    }
}

#[tokio::test]
async fn templates_hear_that_a_model_shall_not_think_also_where_it_cannot() {
    let server = TestServer::start().await;
    let template = "{{ if .IsThinkSet }}{{ .Think }} {{ end }}{{ .Prompt }}";
    let messages = json!([{"role": "user", "content": "hi"}]);
    let both = [
        ("/api/generate", json!({"prompt": "hi"})),
        ("/api/chat", json!({ "messages": messages })),
    ];
    for (fields, silent, off) in [
        (json!({ "template": template }), "hi", "false hi"),
        (
            json!({"renderer": "glm-ocr"}),
            "[gMASK]<sop><|user|>\nhi<|assistant|>\n",
            "[gMASK]<sop><|user|>\nhi/nothink<|assistant|>\n<think></think>\n",
        ),
    ] {
        server
            .create("m", models::fake().build(), fields)
            .await
            .ok();
        for (path, body) in &both {
            let prompt = server.prompt(path, body.clone()).await.0;
            assert_eq!(prompt, silent, "{path}");
            let mut body = body.clone();
            body["think"] = false.into();
            let prompt = server.prompt(path, body).await.0;
            assert_eq!(prompt, off, "{path}");
        }
    }
}

#[tokio::test]
async fn a_prompt_is_shown_with_its_context_and_the_places_of_images() {
    let server = TestServer::start().await;
    for (template, prompt) in [("", "next"), ("<{{ .Prompt }}>", "<next>")] {
        let fields = json!({ "template": template });
        server.create("m", untaught().build(), fields).await.ok();
        let first = json!({"model": "m", "prompt": "one", "stream": false});
        let first = server.post("/api/generate", &first).await.ok().json();
        let body = json!({"prompt": "next", "context": first["context"]});
        let shown = server.prompt("/api/generate", body.clone()).await.0;
        let first = (prompt.replace("next", "one"), first["response"].as_str());
        let earlier = format!("{}{}", first.0, first.1.unwrap());
        assert!(shown.ends_with(&format!("{earlier}{prompt}")), "{shown}");

        // The images are not decoded, since the model is not run.
        let mut body = json!({"prompt": "next", "images": ["AAAA", "AAAB"]});
        let expected = (prompt.replace("next", "[img-0][img-1]next"), 2);
        assert_eq!(server.prompt("/api/generate", body.clone()).await, expected);
        body["model"] = "m".into();
        let refused = server.post("/api/generate", &body).await;
        assert!(refused.error().ends_with("does not support vision"));
    }
}

#[tokio::test]
async fn no_tokens_at_all_are_no_limit_where_a_template_makes_the_prompt() {
    let server = TestServer::start().await;
    let messages = json!([{"role": "user", "content": "one two"}]);
    for (fields, content) in [
        (
            json!({"template": "<|im_start|>user\n{{ .Prompt }}<|im_end|>\n"}),
            "one two",
        ),
        (json!({}), ""),
    ] {
        server.create("m", untaught().build(), fields).await.ok();
        let native = json!({"model": "m", "messages": messages, "stream": false,
            "options": {"num_predict": 0}});
        let answer = server.post("/api/chat", &native).await.ok().json();
        assert_eq!(answer["message"]["content"], content);
        let reason = if content.is_empty() { "length" } else { "stop" };
        assert_eq!(answer["done_reason"], reason);
        let openai = json!({"model": "m", "messages": messages, "max_tokens": 0});
        let answer = server.post("/v1/chat/completions", &openai).await;
        let answer = answer.ok().json();
        assert_eq!(answer["choices"][0]["message"]["content"], content);
    }
}

#[tokio::test]
async fn a_model_s_parent_is_listed() {
    let server = TestServer::start().await;
    server.fake_model("base").await;
    let derived = json!({"model": "derived", "from": "base", "system": "S", "stream": false});
    server.post("/api/create", &derived).await.ok();
    let listed = server.get("/api/tags").await.ok().json();
    let models = listed["models"].as_array().unwrap();
    let parent = |name: &str| {
        let model = models.iter().find(|model| model["name"] == name).unwrap();
        model["details"]["parent_model"].clone()
    };
    assert_eq!(parent("derived:latest"), "base:latest");
    assert_eq!(parent("base:latest"), "");
}
