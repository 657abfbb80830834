//! Decisions: System One's route and OpenAI's.

use drover::model::gguf::builder::GgufBuilder;
use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::models::{embedder, fake};
use crate::support::real::{real, skip};

/// A server with the fake model `tiny`, whose tokens are bytes.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    server
}

/// The fake model's probabilities of `n` labels: `first` is the likeliest, and the next one is likely, too.
fn shares(first: usize, n: usize) -> Vec<f64> {
    let logit = |label: usize| match label.checked_sub(first) {
        Some(0) => 9.0_f64,
        Some(1) => 5.0,
        _ => 0.0,
    };
    let sum: f64 = (0..n).map(|label| logit(label).exp()).sum();
    (0..n).map(|label| logit(label).exp() / sum).collect()
}

fn near(value: &Value, expected: f64) -> bool {
    (value.as_f64().unwrap() - expected).abs() < 1e-5
}

#[tokio::test]
async fn labels_are_read_in_the_order_of_the_request() {
    let server = server().await;
    let body = json!({"model": "tiny", "state": {"said": "[[say B]]"}, "questions": {
        "team": {"type": "choice", "instructions": "Who?", "criteria": {"sales": "buys", "help": null, "bugs": null}},
        "names": {"type": "choice", "criteria": ["x", "y"]}}});
    let answer = server.post("/v1/systemone", &body).await.ok();
    assert!(answer.text.find("\"team\"") < answer.text.find("\"names\""));
    let answer = answer.json();
    let team = &answer["answers"]["team"];
    assert_eq!(
        (&team["type"], &team["choice"]),
        (&json!("choice"), &json!("help"))
    );
    for (name, share) in ["sales", "help", "bugs"].iter().zip(shares(1, 3)) {
        assert!(near(&team["probabilities"][name], share), "{team}");
    }
    assert!(near(
        &team["confidence"],
        (shares(1, 3)[1] - 1.0 / 3.0) / (2.0 / 3.0)
    ));
    assert!(team["x_label_mass"].as_f64() > Some(0.9));
    assert_eq!(answer["answers"]["names"]["choice"], "y");
    assert_eq!(answer["model"], "tiny");
    let usage = &answer["usage"];
    assert_eq!(usage["output_tokens"], 0);
    // Repeated, everything but the last token of each prompt is in the cache.
    let again = server.post("/v1/systemone", &body).await.ok().json();
    assert_eq!(again["answers"], answer["answers"]);
    let n_input = usage["input_tokens"].as_u64().unwrap();
    assert_eq!(again["usage"]["input_tokens"], n_input);
    let n_cached = again["usage"]["input_tokens_details"]["cached_tokens"].as_u64();
    assert_eq!(n_cached, Some(n_input - 2));

    let mut brief = body.clone();
    brief["keep_alive"] = 0.into();
    server.post("/v1/systemone", &brief).await.ok();
    server.no_runners().await;
    let loads = "drover_model_loads_total{model=\"tiny:latest\"} 1\n";
    let metrics = server.get("/metrics").await.ok().text;
    assert!(metrics.contains(loads), "{metrics}");

    let score = json!({"model": "tiny", "state": "[[say 1]]",
        "questions": {"tone": {"type": "score", "criteria": ["calm", "cross", "furious"]}}});
    let tone = server.post("/v1/systemone", &score).await.ok().json()["answers"]["tone"].clone();
    assert_eq!(
        tone["legend"],
        json!({"0": "calm", "1": "cross", "2": "furious"})
    );
    let shares = shares(1, 3);
    assert!(near(&tone["score"], shares[1] + 2.0 * shares[2]), "{tone}");
}

#[tokio::test]
async fn a_server_that_keeps_no_model_and_no_queue_loads_it_once_for_all_questions() {
    let mut settings = TestServer::builder();
    for (name, value) in [
        ("OLLAMA_KEEP_ALIVE", "0"),
        ("OLLAMA_MAX_QUEUE", "2"),
        ("OLLAMA_NUM_PARALLEL", "1"),
    ] {
        settings = settings.env(name, value);
    }
    let server = settings.start().await;
    server.fake_model("tiny").await;
    let questions: serde_json::Map<String, Value> = (0..12)
        .map(|n| {
            (
                n.to_string(),
                json!({"type": "choice", "criteria": ["x", "y"]}),
            )
        })
        .collect();
    let body = json!({"model": "tiny", "state": "[[say B]]", "questions": questions});
    let answer = server.post("/v1/systemone", &body).await.ok().json();
    assert_eq!(answer["answers"].as_object().unwrap().len(), 12);
    server.no_runners().await;
    let loads = "drover_model_loads_total{model=\"tiny:latest\"} 1\n";
    let metrics = server.get("/metrics").await.ok().text;
    assert!(metrics.contains(loads), "{metrics}");
}

#[tokio::test]
async fn long_instructions_with_many_options_are_refused_and_harm_nobody() {
    let server = server().await;
    let options: Vec<String> = (0..40).map(|n| format!("option {n}")).collect();
    let mut body = json!({"model": "tiny", "state": "[[say AA]]", "instructions": "Be fair. ".repeat(100_000),
        "questions": {"one": {"type": "choice", "criteria": options}}});
    let refused = server.post("/v1/systemone", &body).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    body["instructions"] = "Be fair.".into();
    server.post("/v1/systemone", &body).await;
    let loads = "drover_model_loads_total{model=\"tiny:latest\"} 1\n";
    let metrics = server.get("/metrics").await.ok().text;
    assert!(metrics.contains(loads), "{metrics}");
}

#[tokio::test]
async fn openais_decisions_are_the_same() {
    let server = server().await;
    let body = json!({"model": "tiny", "input": [{"role": "user", "content": "[[say A]]"}], "questions": [
        {"type": "choice", "name": "so", "instructions": "Is it?",
         "choices": [{"value": true, "description": "it is"}, {"value": "true"}]},
        {"type": "score", "instructions": "How?", "levels": [{"label": "low"}, {"label": "high"}]}]});
    let answer = server.post("/v1/decisions", &body).await.ok().json();
    let so = &answer["answers"][0];
    assert_eq!((&so["name"], &so["choice"]), (&json!("so"), &json!(true)));
    assert!(near(
        &so["probabilities"][0]["probability"],
        shares(0, 2)[0]
    ));
    let how = &answer["answers"][1];
    assert_eq!(
        (&how["name"], &how["probabilities"][1]["label"]),
        (&Value::Null, &json!("high"))
    );
    // The fake model considers neither digit.
    assert!(
        near(&how["score"], 0.5) && near(&how["confidence"], 0.0),
        "{how}"
    );
    let usage = &answer["usage"];
    assert_eq!(usage["total_tokens"], usage["input_tokens"]);
}

#[tokio::test]
async fn what_cannot_be_decided_says_why() {
    let server = server().await;
    server
        .create("vectors", embedder().build(), json!({}))
        .await
        .ok();
    let head = fake().value("drover-fake.decision.type", "kev").build();
    server.create("kev", head, json!({})).await.ok();
    let template = "{{ messages[0].content }}<|im_end|>\n<|im_start|>assistant\n<think>\n";
    let thinker = GgufBuilder::model("drover-fake").value("tokenizer.chat_template", template);
    server
        .create("thinker", thinker.build(), json!({}))
        .await
        .ok();
    let choice = |n: usize| {
        let names: Vec<String> = (0..n).map(|number| format!("option {number}")).collect();
        json!({"q": {"type": "choice", "criteria": names}})
    };
    let many: serde_json::Map<String, Value> = (0..401)
        .map(|number| (number.to_string(), json!({"type": "noul"})))
        .collect();
    for (model, questions, status, words) in [
        ("tiny", json!({}), 400, "non-empty"),
        (
            "tiny",
            choice(1),
            400,
            "has 1 options; it must have 2 to 255",
        ),
        ("tiny", choice(256), 400, "has 256 options"),
        ("tiny", many.into(), 400, "1 to 400"),
        (
            "tiny",
            json!({"q": {"type": "box"}}),
            400,
            "choice, score or noul",
        ),
        // Labels of several tokens: pairs of letters, and words.
        ("tiny", choice(27), 400, "27 labels that are one token each"),
        (
            "tiny",
            json!({"q": {"type": "noul"}}),
            400,
            "\"yes\" and \"no\"",
        ),
        ("vectors", choice(2), 400, "does not support decisions"),
        ("kev", choice(2), 501, "type \"kev\""),
        ("thinker", choice(2), 501, "such as thinking"),
        ("nobody", choice(2), 404, "not found"),
    ] {
        let body = json!({"model": model, "state": "s", "questions": questions});
        let refused = server.post("/v1/systemone", &body).await;
        let error = &refused.json()["error"];
        assert_eq!(refused.status, status, "{error}");
        assert!(
            error["message"].as_str().unwrap().contains(words),
            "{error}"
        );
        assert!(error["type"].is_string());
    }
    let long = json!({"model": "tiny", "state": "x".repeat(5000), "questions": choice(2)});
    let refused = server.post("/v1/systemone", &long).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let image =
        json!({"model": "tiny", "state": "s", "images": ["aW1hZ2U="], "questions": choice(2)});
    let refused = server.post("/v1/systemone", &image).await;
    assert!(
        refused.text.contains("does not support vision"),
        "{}",
        refused.text
    );
    for body in [
        json!({"model": "tiny", "questions": [{"type": "predicate", "instructions": "x"}]}),
        json!({"model": "tiny", "input": "x", "questions": []}),
    ] {
        let refused = server.post("/v1/decisions", &body).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert_eq!(refused.json()["error"]["type"], "invalid_request_error");
    }
}

/// A ticket that is long enough for its share of the prompts to be visible.
fn ticket() -> String {
    "My card was charged twice for one order, and nobody answers my mails. ".repeat(20)
}

fn questions() -> Value {
    json!({
        "team": {"type": "choice", "instructions": "Which team should handle this ticket?",
                 "criteria": {"billing": "payments and refunds", "shipping": "deliveries", "security": "accounts"}},
        "urgent": {"type": "noul", "instructions": "Is the customer angry?"},
        "tone": {"type": "score", "instructions": "How upset is the customer?",
                 "criteria": ["calm", "annoyed", "furious"]}})
}

/// Asks a real model about the ticket several times; returns the last answers.
async fn decided(name: &str) -> Option<(TestServer, [Value; 2])> {
    let model = real(name)?;
    let server = TestServer::start().await;
    let file = fs_err::read(&model).unwrap();
    server.create(name, file, json!({})).await.ok();
    let body = json!({"model": name, "state": ticket(), "questions": questions()});
    let first = server.post("/v1/systemone", &body).await.ok().json();
    let sum = |probabilities: &Value| -> f64 {
        let shares = probabilities.as_object().unwrap().values();
        shares.map(|share| share.as_f64().unwrap()).sum()
    };
    for question in ["team", "tone"] {
        let answer = &first["answers"][question];
        assert!(
            (sum(&answer["probabilities"]) - 1.0).abs() < 1e-9,
            "{answer}"
        );
    }
    let noul = first["answers"]["urgent"]["noul"].as_f64().unwrap();
    assert!(noul > 0.0 && noul < 1.0, "{first}");
    // The state was computed for the first question and found in the cache by the others.
    let cached = server.get("/metrics").await.ok().text;
    let line = format!("drover_prompt_tokens_cached_total{{model=\"{name}:latest\"}} ");
    let n_cached = cached.lines().find_map(|known| known.strip_prefix(&line));
    let n_cached: f64 = n_cached.map_or(0.0, |value| value.trim().parse().unwrap());
    let n_state = json!({"model": name, "content": ticket()});
    let n_state = server.post("/tokenize", &n_state).await.ok().json()["count"]
        .as_f64()
        .unwrap();
    assert!(n_cached >= 2.0 * n_state, "{n_cached} of twice {n_state}");
    let n_input = first["usage"]["input_tokens"].as_f64().unwrap();
    assert!(n_input > n_state && n_input < 2.0 * n_state, "{first}");

    let again = server.post("/v1/systemone", &body).await.ok().json();
    let third = server.post("/v1/systemone", &body).await.ok().json();
    // Rows that are computed together differ slightly from single ones.
    for (question, (one, other)) in [
        ("team", (&first, &again)),
        ("tone", (&first, &again)),
        ("tone", (&again, &third)),
    ] {
        let shares = |answer: &Value| answer["answers"][question]["probabilities"].clone();
        let (one, other) = (shares(one), shares(other));
        for (option, share) in one.as_object().unwrap() {
            let difference = share.as_f64().unwrap() - other[option].as_f64().unwrap();
            assert!(difference.abs() < 0.1, "{one} {other}");
        }
    }
    assert_eq!(
        again["usage"]["input_tokens"],
        first["usage"]["input_tokens"]
    );
    let cached = &again["usage"]["input_tokens_details"]["cached_tokens"];
    assert!(cached.as_f64().unwrap() >= n_state, "{again}");
    Some((server, [again, third]))
}

#[tokio::test]
async fn a_chat_model_decides_as_its_chats_would() {
    let Some((server, [again, answer])) = decided("smollm2-135m").await else {
        return skip("no SmolLM2 in DROVER_TEST_MODELS");
    };
    // The first question runs alone, and all of its prompt was cached, so the result is the same.
    assert_eq!(again["answers"]["team"], answer["answers"]["team"]);
    let question = "Question: Which team should handle this ticket?\nOptions:\nA: billing (payments and refunds)\n\
        B: shipping (deliveries)\nC: security (accounts)\nReply with one of these labels and nothing else.";
    let content = format!("{}\n\n{question}", ticket());
    let chat = json!({"model": "smollm2-135m", "messages": [{"role": "user", "content": content}],
        "max_tokens": 1, "logprobs": true, "top_logprobs": 20, "temperature": 0});
    let chat = server.post("/v1/chat/completions", &chat).await.ok().json();
    let top = chat["choices"][0]["logprobs"]["content"][0]["top_logprobs"].clone();
    let team = &answer["answers"]["team"];
    let mass = team["x_label_mass"].as_f64().unwrap();
    let mut n_compared = 0;
    for (label, option) in [("A", "billing"), ("B", "shipping"), ("C", "security")] {
        let own = top.as_array().unwrap().iter();
        let own = own.filter(|one| one["token"].as_str().unwrap().trim() == label);
        let own: Vec<f64> = own
            .map(|one| one["logprob"].as_f64().unwrap().exp())
            .collect();
        if own.is_empty() {
            continue;
        }
        n_compared += 1;
        let told = team["probabilities"][option].as_f64().unwrap() * mass;
        let said: f64 = own.iter().sum();
        assert!((told / said - 1.0).abs() < 1e-3, "{label}: {told} {said}");
    }
    assert!(n_compared > 0, "{top}");
}

#[tokio::test]
async fn a_model_whose_cache_cannot_go_back_reads_the_state_once() {
    if decided("gemma3-270m").await.is_none() {
        skip("no Gemma 3 in DROVER_TEST_MODELS");
    }
}
