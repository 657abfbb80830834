//! Files in the layout of Ollama's former engine: they give the same answers as the same weights in llama.cpp's layout,
//! to the last digit.

use serde_json::{Value, json};

use crate::ollama::images::real::png;
use crate::support::TestServer;
use crate::support::real::{shared, testdata};

pub(super) fn file(name: &str) -> Option<Vec<u8>> {
    let path = shared(&format!("{name}.gguf"))?;
    Some(fs_err::read(path).unwrap())
}

/// The projector of a model that has one.
pub(super) fn projector(upstream: &str) -> Option<Vec<u8>> {
    let name = format!("gguf/{upstream}-projector.gguf");
    fs_err::read(testdata()?.join(name)).ok()
}

/// A daemon with the same weights in both layouts, as `ollama` and `upstream`.
pub(super) async fn start(ollama: &str, upstream: &str) -> Option<TestServer> {
    let files = [("ollama", file(ollama)?), ("upstream", file(upstream)?)];
    // With drafts, different rows would be computed together.
    let server = TestServer::builder().env("DROVER_SPECULATIVE", "off");
    let server = server.start().await;
    for (name, model) in files {
        let mut files = json!({"model.gguf": server.upload(model).await});
        let projector = (name == "upstream").then(|| projector(upstream));
        if let Some(projector) = projector.flatten() {
            files["mmproj.gguf"] = server.upload(projector).await.into();
        }
        let body = json!({"model": name, "files": files, "stream": false});
        server.post("/api/create", &body).await.ok();
    }
    Some(server)
}

/// A model's answer, with its log-probabilities.
pub(super) async fn answer(
    server: &TestServer,
    model: &str,
    prompt: &str,
    images: &[String],
) -> Value {
    let options = json!({"temperature": 0, "num_predict": 12, "num_ctx": 1024});
    let body = json!({"model": model, "prompt": prompt, "raw": true, "stream": false,
        "images": images, "options": options, "logprobs": true, "top_logprobs": 20});
    let answer = server.post("/api/generate", &body).await.ok().json();
    assert!(answer["eval_count"].as_u64() > Some(0), "{answer}");
    json!([
        answer["response"],
        answer["logprobs"],
        answer["prompt_eval_count"]
    ])
}

/// Whether the answers agree except for the last digits: a long prompt is computed in parts whose lengths depend on the
/// machine's speed, which changes the order of sums. (Unit tests compare the same calls, bit by bit.)
fn is_close(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(ours), Value::Array(theirs)) => {
            let mut pairs = ours.iter().zip(theirs);
            ours.len() == theirs.len() && pairs.all(|(ours, theirs)| is_close(ours, theirs))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            let mut pairs = ours.iter().zip(theirs);
            ours.len() == theirs.len()
                && pairs.all(|(ours, theirs)| ours.0 == theirs.0 && is_close(ours.1, theirs.1))
        }
        (Value::Number(ours), Value::Number(theirs)) => {
            let [ours, theirs] = [ours, theirs].map(|number| number.as_f64().unwrap());
            (ours - theirs).abs() < 1e-3
        }
        _ => ours == theirs,
    }
}

#[tokio::test]
async fn weights_in_either_layout_say_the_same() {
    for (ollama, upstream) in [
        ("gptoss-ollama", "gptoss-upstream"),
        ("gemma3-ollama", "gemma3-upstream"),
        ("gemma3-1b-ollama", "gemma3-1b-upstream"),
        ("mistral3-ollama", "mistral3-upstream"),
        ("qwen25vl-ollama", "qwen25vl-upstream"),
    ] {
        let Some(server) = start(ollama, upstream).await else {
            return;
        };
        for prompt in ["a b", "ab a b ba ab", &"a ab b ".repeat(30)] {
            let ours = answer(&server, "ollama", prompt, &[]).await;
            let theirs = answer(&server, "upstream", prompt, &[]).await;
            assert!(
                is_close(&ours, &theirs),
                "{ollama}: {prompt}: {ours} {theirs}"
            );
        }
    }
}

#[tokio::test]
async fn the_first_files_of_gpt_oss_answer() {
    let Some(server) = start("gptoss-first-generation-ollama", "gptoss-upstream").await else {
        return;
    };
    answer(&server, "ollama", "a b", &[]).await;
}

#[tokio::test]
async fn an_encoder_among_the_weights_sees_the_same() {
    let pictures = [png([250, 20, 10]), png([5, 40, 240])];
    let prompt = "a [img-0] b";
    // (The tiny Qwen 2.5 VL has no room for the least tokens of an image.)
    if let Some(server) = start("gemma3-ollama", "gemma3-upstream").await {
        for picture in &pictures {
            let images = std::slice::from_ref(picture);
            let ours = answer(&server, "ollama", prompt, images).await;
            let theirs = answer(&server, "upstream", prompt, images).await;
            assert!(ours == theirs, "{} {}", ours[0], theirs[0]);
        }
    }
    // The tiny projector has zeros after each line of an image; real ones have the row of a token there, as in ours.
    if let Some(server) = start("mistral3-ollama", "mistral3-upstream").await {
        let mut said = Vec::new();
        for picture in &pictures {
            let images = std::slice::from_ref(picture);
            let ours = answer(&server, "ollama", prompt, images).await;
            let theirs = answer(&server, "upstream", prompt, images).await;
            assert_eq!(ours[2], theirs[2]);
            said.push(ours);
        }
        assert!(said[0] != said[1], "the image makes no difference");
    }
}

#[tokio::test]
async fn an_embedding_model_in_either_layout_gives_the_same_vectors() {
    let Some(server) = start("embeddinggemma-ollama", "embeddinggemma-upstream").await else {
        return;
    };
    let embed = async |model: &str| {
        let body = json!({"model": model, "input": ["a b", "b a ab", "a"]});
        server.post("/api/embed", &body).await.ok().json()["embeddings"].clone()
    };
    assert_eq!(embed("ollama").await, embed("upstream").await);
}
