//! Sampling options that Ollama does not have.

use serde_json::{Value, json};

use super::real::with_model;
use crate::support::TestServer;

fn ask(prompt: &str, options: &Value) -> Value {
    let mut all = json!({"temperature": 0, "num_predict": 12, "num_ctx": 512});
    let given = options.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(given);
    json!({"model": "smollm2-135m", "prompt": prompt, "raw": true, "stream": false, "options": all,
           "logprobs": true})
}

async fn tokens(server: &TestServer, prompt: &str, options: &Value) -> Vec<String> {
    let body = ask(prompt, options);
    let answer = server.post("/api/generate", &body).await.ok().json();
    let entries = answer["logprobs"].as_array().unwrap();
    let token = |entry: &Value| entry["token"].as_str().unwrap().to_owned();
    entries.iter().map(token).collect()
}

#[tokio::test]
async fn options_beyond_ollamas_change_the_answer() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    let counting = "red green blue red green blue red green blue red green";
    let plain = tokens(&server, counting, &json!({})).await;

    let biased = tokens(&server, counting, &json!({"logit_bias": {"3000": 100}})).await;
    assert_eq!(biased.len(), 12);
    assert!(biased.iter().all(|token| *token == biased[0]), "{biased:?}");
    let chat = json!({"model": "smollm2-135m", "messages": [{"role": "user", "content": "Hello"}],
                      "max_tokens": 3, "temperature": 0, "logit_bias": {"3000": 100}});
    let answer = server.post("/v1/chat/completions", &chat).await.ok().json();
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(content.trim(), biased[..3].concat().trim());

    let dry = json!({"dry_multiplier": 5.0, "dry_sequence_breakers": []});
    assert_ne!(tokens(&server, counting, &dry).await, plain);
    let breakers =
        json!({"dry_multiplier": 5.0, "dry_sequence_breakers": [" green", " red", " blue"]});
    assert_eq!(tokens(&server, counting, &breakers).await, plain);
    let seeded = |mut options: Value| {
        options["seed"] = 1.into();
        options["temperature"] = 1.into();
        options
    };
    let chance = tokens(&server, counting, &seeded(json!({}))).await;
    let xtc = seeded(json!({"xtc_probability": 1.0, "xtc_threshold": 0.02}));
    assert_ne!(tokens(&server, counting, &xtc).await, chance);
    // Without any surprise, Mirostat is greedy.
    let calm = seeded(json!({"mirostat": 2, "mirostat_tau": 0.001}));
    assert_eq!(tokens(&server, counting, &calm).await, plain);
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_by_name() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    for (options, message) in [
        (
            json!({"dry_multiplier": 1, "dry_base": 0.5}),
            "dry_base at least 1",
        ),
        (json!({"mirostat": 7}), "mirostat must be 0, 1 or 2"),
    ] {
        let answer = server.post("/api/generate", &ask("Hello", &options)).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.error().contains(message), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_regex_or_a_grammar_describes_the_answer() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    let mut body = ask("My telephone number is ", &json!({"num_predict": 40}));
    body["format"] = json!({"type": "regex", "pattern": "[0-9]{3}-[0-9]{4}"});
    let answer = server.post("/api/generate", &body).await.ok().json();
    let text = answer["response"].as_str().unwrap();
    assert_eq!((text.len(), text.find('-')), (8, Some(3)), "{text}");
    assert_eq!(answer["done_reason"], "stop");

    let grammar =
        "start: \"<\" list \">\"\nlist: item (\"+\" item)~2\nitem: \"(\" list \")\" | /[a-c]/\n";
    body["format"] = json!({"type": "grammar", "grammar": grammar});
    body["options"]["num_predict"] = 30.into();
    let answer = server.post("/api/generate", &body).await.ok().json();
    let text = answer["response"].as_str().unwrap();
    assert!(text.starts_with('<'), "{text}");
    assert!(text.chars().all(|sign| "<>()+abc".contains(sign)), "{text}");

    for (path, field) in [
        (
            "/v1/chat/completions",
            json!({"guided_choice": ["cat", "dog"]}),
        ),
        (
            "/v1/completions",
            json!({"structured_outputs": {"choice": ["cat", "dog"]}}),
        ),
    ] {
        let mut body = json!({"model": "smollm2-135m", "prompt": "Which animal says meow?",
            "messages": [{"role": "user", "content": "Which animal says meow?"}], "temperature": 0});
        body.as_object_mut()
            .unwrap()
            .extend(field.as_object().unwrap().clone());
        let choice = server.post(path, &body).await.ok().json()["choices"][0].clone();
        let text = choice["text"]
            .as_str()
            .or(choice["message"]["content"].as_str());
        assert!(["cat", "dog"].contains(&text.unwrap()), "{choice}");
    }
}

#[tokio::test]
async fn expressions_and_grammars_that_cannot_be_read_are_refused() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    for (format, message) in [
        (
            json!({"type": "regex", "pattern": "(a"}),
            "failed to read the regex",
        ),
        (
            json!({"type": "regex", "pattern": "(?=a)b"}),
            "failed to read the regex",
        ),
        (
            json!({"type": "grammar", "grammar": "start: nowhere"}),
            "failed to read the grammar",
        ),
        (
            json!({"type": "grammar", "grammar": "root ::= \"a\""}),
            "GBNF",
        ),
    ] {
        let mut body = ask("Hello", &json!({}));
        body["format"] = format;
        let answer = server.post("/api/generate", &body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.error().contains(message), "{}", answer.text);
    }
}
