//! Fields that Ollama ignores: those of OpenAI, vLLM and llama-server.

use serde_json::{Value, json};

use crate::support::real::{real, skip};
use crate::support::{TestServer, models};

async fn server() -> TestServer {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    server
}

async fn completion(server: &TestServer, mut body: Value) -> Value {
    body["model"] = "tiny".into();
    server.post("/v1/completions", &body).await.ok().json()
}

fn texts(answer: &Value) -> Vec<&str> {
    let choices = answer["choices"].as_array().unwrap().iter();
    choices
        .map(|choice| choice["text"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_prompt_of_tokens_goes_to_the_model_as_it_is() {
    let server = server().await;
    // A token of the fake model is a byte.
    let answer = completion(&server, json!({"prompt": [97, 98]})).await;
    assert_eq!(texts(&answer), ["ab"]);
    assert_eq!(answer["usage"]["prompt_tokens"], 2);
    let answer = completion(&server, json!({"prompt": [[97], [98, 99]], "echo": true})).await;
    assert_eq!(texts(&answer), ["aa", "bcbc"]);
    let body = json!({"model": "tiny", "prompt": [97, 1_000_000]});
    let answer = server.post("/v1/completions", &body).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("vocabulary"), "{}", answer.text);
}

#[tokio::test]
async fn the_prompt_is_echoed_before_the_answer_or_alone() {
    let server = server().await;
    let answer = completion(&server, json!({"prompt": "One ", "echo": true})).await;
    assert_eq!(texts(&answer), ["One One"]);
    let body = json!({"prompt": "One", "echo": true, "max_tokens": 0});
    let answer = completion(&server, body).await;
    assert_eq!(texts(&answer), ["One"]);
    assert_eq!(answer["usage"]["completion_tokens"], 0);
    let body = json!({"model": "tiny", "prompt": "One", "echo": true, "stream": true});
    let events = server.post("/v1/completions", &body).await.ok().events();
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(text, "OneOne");
}

#[tokio::test]
async fn of_several_answers_the_likeliest_are_returned() {
    let server = server().await;
    let body = json!({"prompt": "abc", "best_of": 3, "n": 2});
    let answer = completion(&server, body).await;
    assert_eq!(texts(&answer), ["abc", "abc"]);
    // Three were generated, each with its end token.
    assert_eq!(answer["usage"]["completion_tokens"], 12);
    assert_eq!(answer["choices"][1]["index"], 1);
    assert_eq!(answer["choices"][1].get("logprobs"), Some(&Value::Null));
}

#[tokio::test]
async fn a_stop_text_leaves_no_log_probabilities() {
    let server = server().await;
    let body = json!({"prompt": "abc##def", "stop": "##", "logprobs": 0});
    let answer = completion(&server, body).await;
    assert_eq!(texts(&answer), ["abc"]);
    assert_eq!(
        answer["choices"][0]["logprobs"]["tokens"],
        json!(["a", "b", "c"])
    );
    let mut body = json!({"model": "tiny", "logprobs": true, "stop": ["##"],
        "messages": [{"role": "user", "content": "abc##def"}]});
    let path = "/v1/chat/completions";
    let answer = server.post(path, &body).await.ok().json();
    let n_tokens = |choice: &Value| choice["logprobs"]["content"].as_array().map_or(0, Vec::len);
    assert_eq!(n_tokens(&answer["choices"][0]), 3);
    body["stream"] = json!(true);
    let events = server.post(path, &body).await.ok().events();
    assert_eq!(
        events
            .iter()
            .map(|event| n_tokens(&event["choices"][0]))
            .sum::<usize>(),
        3
    );
}

#[tokio::test]
async fn answers_go_on_as_long_as_benchmarks_want() {
    let server = server().await;
    let ended = |answer: &Value| {
        let usage = answer["usage"]["completion_tokens"].as_u64().unwrap();
        (answer["choices"][0]["finish_reason"].clone(), usage)
    };
    let body = json!({"prompt": "ab", "ignore_eos": true, "max_tokens": 9});
    let answer = completion(&server, body).await;
    assert_eq!(ended(&answer), (json!("length"), 9));
    let answer = completion(&server, json!({"prompt": "ab", "min_tokens": 5})).await;
    assert_eq!(ended(&answer), (json!("stop"), 6));
    let body = json!({"prompt": "a#b#c", "min_tokens": 3, "stop": "#"});
    assert_eq!(texts(&completion(&server, body).await), ["a#b"]);
    let body = json!({"model": "tiny", "ignore_eos": true, "max_tokens": 9,
        "messages": [{"role": "user", "content": "ab"}]});
    let answer = server.post("/v1/chat/completions", &body).await.ok().json();
    assert_eq!(ended(&answer), (json!("length"), 9));
}

#[tokio::test]
async fn a_real_model_goes_on_too() {
    let Some(file) = real("smollm2-135m") else {
        return skip("no SmolLM2 in DROVER_TEST_MODELS");
    };
    let server = TestServer::start().await;
    let file = fs_err::read(file).unwrap();
    server.create("smollm2", file, json!({})).await.ok();
    for temperature in [0.0, 0.8] {
        let mut body = json!({"model": "smollm2", "temperature": temperature, "seed": 3,
            "messages": [{"role": "user", "content": "Answer with one word: what do cows drink?"}],
            "ignore_eos": true, "max_tokens": 200});
        let path = "/v1/chat/completions";
        let answer = server.post(path, &body).await.ok().json();
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
        assert_eq!(answer["usage"]["completion_tokens"], 200);
        body["ignore_eos"] = json!(false);
        body["min_tokens"] = json!(60);
        let answer = server.post(path, &body).await.ok().json();
        let n_tokens = answer["usage"]["completion_tokens"].as_u64().unwrap();
        assert!(n_tokens > 60, "{n_tokens}");
    }
}

#[tokio::test]
async fn embeddings_are_made_of_tokens_too() {
    let server = TestServer::start().await;
    let embedder = models::embedder().build();
    server.create("embed", embedder, json!({})).await.ok();
    let embed = async |input| super::embed(&server, input).await;
    let text = embed(json!(["ab", "c"])).await;
    let tokens = embed(json!([[97, 98], [99]])).await;
    assert_eq!(tokens, text);
    assert_eq!(embed(json!([97, 98])).await["data"][0], text["data"][0]);
    let body = json!({"model": "embed", "input": [97, 1_000_000]});
    let answer = server.post("/v1/embeddings", &body).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
}

#[tokio::test]
async fn a_model_that_refuses_a_request_is_not_asked_again() {
    let server = TestServer::start().await;
    let template = "{{ raise_exception('only one turn') }}";
    let file = models::fake()
        .value("tokenizer.chat_template", template)
        .build();
    server.create("strict", file, json!({})).await.ok();
    let body = json!({"model": "strict", "messages": [{"role": "user", "content": "a"}]});
    let answer = server.post("/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    let error = &answer.json()["error"];
    assert_eq!(error["type"], "invalid_request_error");
    assert!(error["message"].as_str().unwrap().contains("only one turn"));
    // As in Ollama.
    assert_eq!(server.post("/api/chat", &body).await.status, 500);
}

/// A client that sends everything before it looks for an answer gets one, and can reuse the connection.
#[tokio::test]
async fn an_early_answer_waits_for_the_rest_of_the_body() {
    let server = server().await;
    let body = vec![b' '; 8 << 20];
    let head = |path: &str| {
        let n_bytes = body.len();
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {n_bytes}\r\n\r\n")
    };
    let mut socket = server
        .socket(head("/v1/images/generations").as_bytes())
        .await;
    socket.send(&body).await;
    let answer = socket.read_until("unknown_url").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    socket.send(head("/api/nothing").as_bytes()).await;
    socket.send(&body).await;
    let answer = socket.read_until("page not found").await;
    assert!(answer.contains("HTTP/1.1 404"), "{answer}");
    // A client that waits for `100 Continue` is answered at once.
    let head = head("/v1/nothing").replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let mut socket = server.socket(head.as_bytes()).await;
    let answer = socket.read_until("unknown_url").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn the_tier_is_told_where_it_was_named() {
    let server = server().await;
    let mut body = json!({"model": "tiny", "messages": [{"role": "user", "content": "a"}]});
    let path = "/v1/chat/completions";
    let plain = server.post(path, &body).await.ok().json();
    assert_eq!(plain.get("service_tier"), None);
    for (tier, told) in [("auto", "default"), ("flex", "flex")] {
        body["service_tier"] = tier.into();
        body["stream"] = false.into();
        let whole = server.post(path, &body).await.ok().json();
        assert_eq!(whole["service_tier"], told);
        body["stream"] = true.into();
        let events = server.post(path, &body).await.ok().events();
        assert_eq!(events[0]["service_tier"], told);
    }
    body["service_tier"] = "gold".into();
    let refused = server.post(path, &body).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["param"], "service_tier");
}

#[tokio::test]
async fn arguments_for_templates_switch_thinking() {
    let server = TestServer::start().await;
    let template = "{% if enable_thinking %}<|im_start|>user\nthinks{% else %}<|im_start|>user\nanswers\
                    {% endif %}<|im_end|>\n<|im_start|>assistant\n{# <think> reasoning_content #}";
    let thinker = models::fake().value("tokenizer.chat_template", template);
    server.create("m", thinker.build(), json!({})).await.ok();
    server.fake_model("tiny").await;
    for (model, arguments, said) in [
        ("m", json!({"enable_thinking": false}), "answers"),
        ("m", json!({"thinking": false, "unknown": [1]}), "answers"),
        ("m", json!({"enable_thinking": true}), "thinks"),
        ("m", Value::Null, "thinks"),
        // A model that does not think is not asked to.
        ("tiny", json!({"enable_thinking": true}), "a"),
    ] {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "a"}],
            "chat_template_kwargs": arguments});
        let answer = server.post("/v1/chat/completions", &body).await.ok();
        let message = &answer.json()["choices"][0]["message"];
        assert_eq!(message["content"], said, "{model} {arguments} {message}");
    }
}

#[tokio::test]
async fn ollamas_counters_tell_what_was_cached() {
    let server = server().await;
    let body = json!({"model": "tiny", "prompt": "a prompt that is long enough", "stream": false});
    let first = server.post("/api/generate", &body).await.ok().json();
    let again = server.post("/api/generate", &body).await.ok().json();
    assert_eq!(first["prompt_eval_cached_count"], 0);
    assert!(again["prompt_eval_cached_count"].as_u64() > Some(0));
    assert_eq!(again["prompt_eval_count"], first["prompt_eval_count"]);
}
