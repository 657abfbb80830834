//! Images, from the request to the cache, over every route that takes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drover::model::gguf::builder::GgufBuilder;
use serde_json::{Value, json};

use crate::support::{TestServer, models};

/// An image for the fake model, which takes any file that begins with this word, with a row for each byte.
fn image(name: &str, n_rows: usize) -> String {
    let text = format!("image {name}");
    STANDARD.encode(format!("{text:.<n_rows$}"))
}

/// Makes a model of these two files.
async fn create(server: &TestServer, name: &str, model: Vec<u8>, projector: Vec<u8>) {
    let model = server.upload(model).await;
    let projector = server.upload(projector).await;
    let files = json!({"model.gguf": model, "mmproj.gguf": projector});
    let body = json!({"model": name, "files": files, "stream": false});
    server.post("/api/create", &body).await.ok();
}

/// A daemon with a model that has a projector (`vision`) and one that has none (`blind`).
async fn start() -> TestServer {
    let server = TestServer::start().await;
    let projector = GgufBuilder::new("clip")
        .value("clip.has_vision_encoder", true)
        .value("clip.projector_type", "mlp")
        .build();
    create(&server, "vision", models::fake().build(), projector).await;
    server.fake_model("blind").await;
    server
}

fn counted(answer: &Value) -> u64 {
    answer["prompt_eval_count"].as_u64().unwrap()
}

#[tokio::test]
async fn a_model_with_a_projector_sees_on_every_route() {
    let server = start().await;
    let shown = server.post("/api/show", &json!({"model": "vision"})).await;
    assert_eq!(
        shown.ok().json()["capabilities"],
        json!(["completion", "vision"])
    );

    let chat = |images: Value| {
        let message = json!({"role": "user", "content": "What is it?", "images": images});
        json!({"model": "vision", "stream": false, "messages": [message]})
    };
    let plain = server.post("/api/chat", &chat(json!([]))).await.ok().json();
    for rows in [40, 300] {
        let body = chat(json!([image("cat", rows), image("dog", 20)]));
        let answer = server.post("/api/chat", &body).await.ok().json();
        assert_eq!(answer["message"]["content"], "What is it?");
        assert_eq!(counted(&answer), counted(&plain) + rows as u64 + 20);
    }
    let body = json!({"model": "vision", "stream": false, "prompt": "What is it?",
        "images": [image("cat", 40)]});
    let answer = server.post("/api/generate", &body).await.ok().json();
    assert_eq!(answer["response"], "What is it?");
    assert_eq!(counted(&answer), counted(&plain) + 40);

    let url = format!("data:image/png;base64,{}", image("cat", 40));
    let content = json!([{"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": url}}]);
    let body = json!({"model": "vision", "messages": [{"role": "user", "content": content}]});
    let answer = server.post("/v1/chat/completions", &body).await.ok().json();
    let said = &answer["choices"][0]["message"]["content"];
    assert_eq!(said, "What is it?");
    assert_eq!(answer["usage"]["prompt_tokens"], counted(&plain) + 42);
}

#[tokio::test]
async fn raw_prompts_and_templates_of_a_request_have_images_too() {
    let server = start().await;
    let ask = async |extra: Value| {
        let mut body = json!({"model": "vision", "stream": false, "images": [image("cat", 30)]});
        for (key, value) in extra.as_object().unwrap() {
            body[key] = value.clone();
        }
        server.post("/api/generate", &body).await.ok().json()
    };
    let answer = ask(json!({"prompt": "[img-0] after it", "raw": true})).await;
    assert_eq!(answer["response"], "after it");
    let answer = ask(json!({"prompt": "in front", "raw": true})).await;
    assert_eq!(answer["response"], "in front");
    assert_eq!(counted(&answer), 1 + 30 + 8);
    let template = "{{ .Prompt }}, said the template";
    let answer = ask(json!({"prompt": "here [img] it is", "template": template})).await;
    assert_eq!(answer["response"], "here  it is, said the template");
}

#[tokio::test]
async fn the_images_of_a_conversation_are_evaluated_once() {
    let server = start().await;
    let user =
        |text: &str, images: Value| json!({"role": "user", "content": text, "images": images});
    let ask = async |messages: &Value| {
        let body = json!({"model": "vision", "messages": messages, "stream": false});
        server.post("/api/chat", &body).await.ok().json();
        let line = r#"drover_prompt_tokens_cached_total{model="vision:latest"}"#;
        super::metrics::value(&server, line).await
    };
    let first = user("Look.", json!([image("cat", 500)]));
    let n_before = ask(&json!([first])).await;
    let said = json!({"role": "assistant", "content": "Look."});
    let n_cached = ask(&json!([first, said, user("And now?", json!([]))])).await - n_before;
    assert!(n_cached > 500.0, "{n_cached}");
    // Another image with the same text.
    let other = user("Look.", json!([image("dog", 500)]));
    let n_before = n_before + n_cached;
    let n_cached = ask(&json!([other, said, user("And now?", json!([]))])).await - n_before;
    assert!(n_cached < 100.0, "{n_cached}");
}

#[tokio::test]
async fn images_that_cannot_be_seen_are_refused_in_words() {
    let server = start().await;
    let ask = async |model: &str, image: String| {
        let body =
            json!({"model": model, "prompt": "What is it?", "images": [image], "stream": false});
        let answer = server.post("/api/generate", &body).await;
        (answer.status, answer.json()["error"].to_string())
    };
    let (status, error) = ask("blind", image("cat", 40)).await;
    assert_eq!(status, 400);
    assert!(error.contains("does not support vision"), "{error}");
    let (status, error) = ask("vision", STANDARD.encode("a letter")).await;
    assert_eq!(status, 400);
    assert!(error.contains("this is no image"), "{error}");
    let (status, _) = ask("vision", image("cat", 40)).await;
    assert_eq!(status, 200);
    // An image for which the template has no place.
    let body = json!({"model": "vision", "prompt": "What is it?", "images": [image("cat", 40)],
        "template": "no place for it"});
    let answer = server.post("/api/generate", &body).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(
        answer.text.contains("no place for these images"),
        "{answer:?}"
    );
}

/// With llama.cpp, and a tiny model of a real architecture with random weights.
#[cfg(feature = "llama")]
pub(super) mod real {
    use std::io::Cursor;

    use super::*;
    use crate::ollama::clients::run_against;
    use crate::support::real::{shared, skip, variable};

    pub(in crate::ollama) fn png(color: [u8; 3]) -> String {
        let stripes = image::RgbImage::from_fn(60, 60, |x, _| {
            image::Rgb(color.map(|part| if x % 9 < 4 { part } else { 255 - part }))
        });
        let mut bytes = Cursor::new(Vec::new());
        stripes
            .write_to(&mut bytes, image::ImageFormat::Png)
            .unwrap();
        STANDARD.encode(bytes.into_inner())
    }

    async fn start(family: &str) -> Option<TestServer> {
        let read = |name: &str| {
            let path = shared(&format!("{family}-upstream{name}.gguf"))?;
            Some(fs_err::read(path).unwrap())
        };
        let (model, projector) = (read("")?, read("-projector")?);
        let server = TestServer::start().await;
        create(&server, "vision", model, projector).await;
        Some(server)
    }

    /// The model's answer to an image, with the log-probabilities of its tokens.
    async fn see(server: &TestServer, image: &str) -> (u64, String, Vec<f64>) {
        let message = json!({"role": "user", "content": "a", "images": [image]});
        let options = json!({"temperature": 0, "num_predict": 4});
        let body = json!({"model": "vision", "stream": false, "messages": [message],
            "options": options, "logprobs": true});
        let answer = server.post("/api/chat", &body).await.ok().json();
        let logprobs = answer["logprobs"].as_array().unwrap().iter();
        let logprobs = logprobs.map(|entry| entry["logprob"].as_f64().unwrap());
        let text = answer["message"]["content"].as_str().unwrap().to_owned();
        (counted(&answer), text, logprobs.collect())
    }

    #[tokio::test]
    async fn what_a_picture_shows_makes_the_answer() {
        let Some(server) = start("mistral3").await else {
            return;
        };
        let (red, blue) = (png([250, 20, 10]), png([5, 40, 240]));
        let (n_prompt, _, first) = see(&server, &red).await;
        let (_, _, second) = see(&server, &blue).await;
        let (n_again, _, again) = see(&server, &red).await;
        assert!(n_prompt > 50, "the image has rows: {n_prompt}");
        assert_eq!(n_prompt, n_again);
        let differs = |a: &[f64], b: &[f64]| {
            let pairs = a.iter().zip(b);
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        };
        assert!(differs(&first, &again) < 1e-2, "{first:?} {again:?}");
        assert!(differs(&first, &second) > 1e-2, "{first:?} {second:?}");
    }

    #[tokio::test]
    async fn pictures_and_texts_run_together() {
        for family in ["gemma3", "mistral3"] {
            let Some(server) = start(family).await else {
                return;
            };
            let image = png([250, 20, 10]);
            let alone = see(&server, &image).await;
            let seen = (0..4).map(|_| see(&server, &image));
            let text = json!({"model": "vision", "prompt": "a b", "stream": false,
                "options": {"num_predict": 60}});
            let texts = (0..3).map(|_| server.post("/api/generate", &text));
            let (seen, texts) = tokio::join!(
                futures_util::future::join_all(seen),
                futures_util::future::join_all(texts)
            );
            for text in texts {
                text.ok();
            }
            for answer in seen {
                assert_eq!((answer.0, &answer.1), (alone.0, &alone.1), "{family}");
            }
        }
    }

    #[tokio::test]
    async fn the_official_python_clients_show_pictures() {
        let Some(python) = variable("DROVER_PYTHON") else {
            return skip("no DROVER_PYTHON with the clients");
        };
        let Some(server) = start("mistral3").await else {
            return;
        };
        run_against(&server, "vision", &python, "python_images.py").await;
    }

    #[tokio::test]
    async fn a_file_that_is_no_image_is_told_apart() {
        let Some(server) = start("gemma3").await else {
            return;
        };
        for (bytes, word) in [
            (&b"%PDF-1.7 a document"[..], "none of PNG, JPEG"),
            (b"RIFF\x24\0\0\0WAVEfmt ", "does not support audio"),
            (b"\x89PNG\r\n\x1a\n broken", "invalid image"),
        ] {
            let body =
                json!({"model": "vision", "prompt": "a", "images": [STANDARD.encode(bytes)]});
            let answer = server.post("/api/generate", &body).await;
            assert_eq!(answer.status, 400, "{answer:?}");
            assert!(answer.text.contains(word), "{answer:?}");
        }
        let text = json!({"model": "vision", "prompt": "a b", "stream": false});
        server.post("/api/generate", &text).await.ok();
    }
    /// The most memory that a process has had, in bytes.
    fn peak(pid: u32) -> u64 {
        let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.unwrap().split_whitespace().next().unwrap();
        number.parse::<u64>().unwrap() * 1024
    }

    #[tokio::test]
    async fn a_file_that_says_it_is_huge_costs_nothing() {
        let Some(server) = start("gemma3").await else {
            return;
        };
        let text = json!({"model": "vision", "prompt": "a b", "stream": false});
        server.post("/api/generate", &text).await.ok();
        let runner = server.runner().pid;
        let before = peak(runner);
        // 43 bytes: a screen and a frame of 65535x65535.
        let gif = b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff\
            \x21\xf9\x04\0\0\0\0\0\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x4c\x01\0\x3b";
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x2e\xe0\0\0\x2e\xe0\x01\0\0\0\0\
            \x79\x3e\xb1\x5c\0\0\0\0IDAT\x35\xaf\x06\x1e";
        let asks = [(&gif[..], 1), (&png[..], 12)].map(|(file, n_images)| {
            let images = vec![STANDARD.encode(file); n_images];
            let body = json!({"model": "vision", "prompt": "a", "images": images});
            let server = &server;
            async move { server.post("/api/generate", &body).await }
        });
        for answer in futures_util::future::join_all(asks).await {
            assert_eq!(answer.status, 400, "{answer:?}");
            assert!(answer.text.contains("is too large"), "{answer:?}");
        }
        server.post("/api/generate", &text).await.ok();
        assert_eq!(server.runner().pid, runner);
        let grown = peak(runner) - before;
        assert!(grown < 64 << 20, "{grown} bytes");
    }
}
