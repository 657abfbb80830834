//! Small real models through llama.cpp: what is tested with the fake backend holds there, too.

use std::time::Instant;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::real::{real, skip};

/// A daemon with a real model that has the name of its file.
pub(super) async fn with_model(name: &str) -> Option<TestServer> {
    let Some(path) = real(name) else {
        skip(&format!("no {name} in DROVER_TEST_MODELS"));
        return None;
    };
    let server = TestServer::builder()
        .env("OLLAMA_NUM_PARALLEL", "8")
        .start()
        .await;
    server
        .create(name, fs_err::read(path).unwrap(), json!({}))
        .await
        .ok();
    Some(server)
}

pub(super) fn question(model: &str, content: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": content}],
           "options": {"temperature": 0, "num_predict": 24, "num_ctx": 1024}})
}

const QUESTIONS: [&str; 24] = [
    "Which animal says meow?",
    "What do bees make?",
    "Where do fish live?",
    "Name a planet.",
    "What is two plus two?",
    "Say hello in Spanish.",
    "Name a colour.",
    "Write the alphabet.",
    "Count from one to ten.",
    "What is ice made of?",
    "Who wrote Romeo and Juliet?",
    "What is the largest ocean?",
    "How many days are in a week?",
    "How many legs does a spider have?",
    "What colour is the sky?",
    "What is the opposite of hot?",
    "Name three fruits.",
    "What is the boiling point of water?",
    "Translate 'dog' to French.",
    "What language is spoken in Brazil?",
    "Who was the first president of the United States?",
    "What is the chemical symbol of gold?",
    "What is a triangle?",
    "List the months of the year.",
];

#[tokio::test]
async fn smollm2_answers_and_both_ways_of_answering_agree() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    let body = question("smollm2-135m", "Which animal says meow?");
    let lines = server.stream("/api/chat", &body).await.rest().await;
    let pieces = lines
        .iter()
        .map(|line| line["message"]["content"].as_str().unwrap());
    let streamed: String = pieces.collect();
    assert!(streamed.contains("cat"), "{streamed}");
    assert_eq!(lines.last().unwrap()["done"], true);
    let mut whole = body;
    whole["stream"] = false.into();
    let whole = server.post("/api/chat", &whole).await.ok().json();
    assert_eq!(whole["message"]["content"], streamed);
}

#[tokio::test]
async fn gemma3_continues_a_text() {
    let Some(server) = with_model("gemma3-270m").await else {
        return;
    };
    let body = json!({"model": "gemma3-270m", "prompt": "1 2 3 4 5 6 7", "raw": true,
                      "stream": false, "options": {"temperature": 0, "num_predict": 8}});
    let answer = server.post("/api/generate", &body).await.ok().json();
    let text = answer["response"].as_str().unwrap();
    assert!(text.starts_with(" 8 9 10"), "{answer}");
}

/// Gemma's file has no chat template: it was not made for chats.
#[tokio::test]
async fn a_base_model_goes_on_with_a_text_and_says_no_marks() {
    let Some(server) = with_model("gemma3-270m").await else {
        return;
    };
    let ask = json!({"model": "gemma3-270m", "prompt": "1 2 3 4 5 6 7", "stream": false,
                     "options": {"temperature": 0, "num_predict": 8}});
    let answer = server.post("/api/generate", &ask).await.ok().json();
    assert!(
        answer["response"].as_str().unwrap().starts_with(" 8 9 10"),
        "{answer}"
    );
    let ask = json!({"model": "gemma3-270m", "prompt": "1 2 3 4 5 6 7", "max_tokens": 8,
                     "temperature": 0});
    let answer = server.post("/v1/completions", &ask).await.ok().json();
    let text = answer["choices"][0]["text"].as_str().unwrap();
    assert!(text.starts_with(" 8 9 10"), "{answer}");

    // In ChatML it writes anything, up to one of the marks, which are plain text to it.
    for mark in ["<\\|im_end\\|>", "<\\|im_start\\|>"] {
        let body = json!({"model": "gemma3-270m", "stream": false,
            "messages": [{"role": "user", "content": "hi"}],
            "format": {"type": "regex", "pattern": format!("One\\.{mark}more")},
            "options": {"stop": ["never"]}});
        let answer = server.post("/api/chat", &body).await.ok().json();
        assert_eq!(answer["message"]["content"], "One.", "{mark}");
        assert_eq!(answer["done_reason"], "stop");
    }
}

/// One streamed answer, with the times of its pieces.
struct Answer {
    text: String,
    first: Instant,
    last: Instant,
    n_generated: u64,
}

async fn ask(server: &TestServer, content: &str, n_predict: u32) -> Answer {
    let mut body = question("smollm2-135m", content);
    body["options"]["num_predict"] = n_predict.into();
    let mut stream = server.stream("/api/chat", &body).await;
    let (mut text, mut first, mut n_generated) = (String::new(), None, 0);
    while let Some(line) = stream.next().await {
        first.get_or_insert_with(Instant::now);
        let piece = line["message"]["content"].as_str();
        text.push_str(piece.unwrap_or_else(|| panic!("{line}")));
        n_generated = line["eval_count"].as_u64().unwrap_or_default();
    }
    Answer {
        text,
        first: first.unwrap(),
        last: Instant::now(),
        n_generated,
    }
}

#[tokio::test]
async fn eight_chats_progress_together() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    // Load the model, and get the common prefix of the prompts into the cache.
    ask(&server, "Hello.", 1).await;
    let started = Instant::now();
    let eight = QUESTIONS[..8].iter();
    let together = join_all(eight.map(|content| ask(&server, content, 24))).await;
    let seconds = started.elapsed().as_secs_f64();
    let n_generated: u64 = together.iter().map(|answer| answer.n_generated).sum();
    println!("{n_generated} tokens of eight chats in {seconds:.1} s");
    let last_start = together.iter().map(|answer| answer.first).max().unwrap();
    let first_end = together.iter().map(|answer| answer.last).min().unwrap();
    assert!(last_start < first_end, "some waited until others were done");
}

/// How rows are grouped changes logits a little, so a greedy answer may diverge from the other one where two tokens are
/// nearly equal. Answers that were mixed up between clients would agree in no case.
#[tokio::test]
async fn greedy_answers_of_eight_at_once_are_mostly_those_of_each_alone() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    let mut alone = Vec::new();
    for content in QUESTIONS {
        alone.push(ask(&server, content, 8).await.text);
    }
    let mut together = Vec::new();
    for eight in QUESTIONS.chunks(8) {
        let answers = eight.iter().map(|content| ask(&server, content, 8));
        together.extend(
            join_all(answers)
                .await
                .into_iter()
                .map(|answer| answer.text),
        );
    }
    let n_equal = together.iter().zip(&alone).filter(|(a, b)| a == b).count();
    println!("{n_equal} of 24 greedy answers of eight tokens are equal");
    assert!(n_equal >= 17, "{alone:#?}\n{together:#?}");
}

#[tokio::test]
async fn a_real_runner_that_is_killed_is_replaced() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    let mut body = question("smollm2-135m", "Tell me a long story.");
    body["options"]["num_predict"] = 500.into();
    let mut stream = server.stream("/api/chat", &body).await;
    stream.next().await.unwrap();
    server.runner().signal(Signal::KILL);
    let rest = stream.rest().await;
    assert!(
        rest.last().is_some_and(|line| line["error"].is_string()),
        "{rest:?}"
    );
    let mut again = question("smollm2-135m", "Name a colour.");
    again["stream"] = false.into();
    server.post("/api/chat", &again).await.ok();
}

#[tokio::test]
async fn a_file_that_llama_cpp_refuses_is_an_error_and_not_the_end() {
    let Some(server) = with_model("smollm2-135m").await else {
        return;
    };
    // A valid header without any of the tensors that the architecture needs.
    let file = drover::model::gguf::builder::GgufBuilder::model("llama").build();
    let created = server.create("hollow", file, json!({})).await;
    assert_eq!(created.status, 200, "{}", created.text);
    let body = json!({"model": "hollow", "prompt": "x", "stream": false});
    let answer = server.post("/api/generate", &body).await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert_ne!(answer.error(), "");
    let mut body = question("smollm2-135m", "Name a colour.");
    body["stream"] = false.into();
    server.post("/api/chat", &body).await.ok();
    assert_eq!(server.runners().len(), 1);
}

/// A template for tools, for a model whose own template has none.
pub(super) const TOOLS_TEMPLATE: &str = "{{ if .Tools }}<|im_start|>system\nCall one of these functions: \
    {{ range .Tools }}{{ . }}{{ end }}<|im_end|>\n{{ end }}{{ range .Messages }}\
    <|im_start|>{{ .Role }}\n{{ .Content }}{{ if .ToolCalls }}{{ range .ToolCalls }}\
    <tool_call>{{ .Function.Arguments }}</tool_call>{{ end }}{{ end }}<|im_end|>\n{{ end }}\
    <|im_start|>assistant\n";

#[tokio::test]
async fn fifty_answers_that_must_call_have_well_formed_calls() {
    let name = "smollm2-135m";
    let Some(server) = with_model(name).await else {
        return;
    };
    let create =
        json!({"model": "caller", "from": name, "template": TOOLS_TEMPLATE, "stream": false});
    server.post("/api/create", &create).await.ok();
    let tools = json!([{"type": "function", "function": {
        "name": "set_light",
        "parameters": {"type": "object", "required": ["room", "on"], "additionalProperties": false,
            "properties": {
                "room": {"type": "string", "enum": ["kitchen", "bedroom", "hall"]},
                "on": {"type": "boolean"}
            }}
    }}]);
    let asked = (0..50).map(|seed| {
        let body = json!({"model": "caller", "tools": tools, "tool_choice": "required",
            "seed": seed, "temperature": 1.5, "max_tokens": 800,
            // The last requests may have several calls.
            "parallel_tool_calls": seed >= 40,
            "messages": [{"role": "user", "content": "Make it bright in the kitchen."}]});
        let server = &server;
        async move { server.post("/v1/chat/completions", &body).await.ok().json() }
    });
    let mut n_calls = Vec::new();
    for answer in join_all(asked).await {
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{answer}");
        let calls = choice["message"]["tool_calls"].as_array().unwrap();
        n_calls.push(calls.len());
        for call in calls {
            let function = &call["function"];
            assert_eq!(function["name"], "set_light");
            let arguments = function["arguments"].as_str().unwrap();
            let arguments: Value = serde_json::from_str(arguments).unwrap();
            let rooms = ["kitchen", "bedroom", "hall"];
            assert!(
                rooms.iter().any(|room| arguments["room"] == *room),
                "{arguments}"
            );
            assert!(arguments["on"].is_boolean(), "{arguments}");
        }
    }
    assert!(n_calls[..40].iter().all(|&n| n == 1), "{n_calls:?}");
    assert!(n_calls[40..].iter().all(|&n| n >= 1), "{n_calls:?}");
}

#[tokio::test]
async fn fifty_answers_in_a_schema_are_fifty_whole_ones() {
    let name = "smollm2-135m";
    let Some(server) = with_model(name).await else {
        return;
    };
    let part = json!({"anyOf": [
        {"type": "string", "maxLength": 12},
        {"type": "object", "required": ["kind", "sizes"], "additionalProperties": false,
            "properties": {
                "kind": {"enum": ["red", "green", 3]},
                "sizes": {"type": "array", "maxItems": 2, "items":
                    {"type": "array", "maxItems": 2, "items": {"type": "boolean"}}}
            }}
    ]});
    let schema = json!({"type": "object", "required": ["parts"], "additionalProperties": false,
        "properties": {"parts": {"type": "array", "minItems": 1, "maxItems": 3, "items": part}}});
    let asked = (0..50).map(|seed| {
        let body = json!({"model": name, "format": schema, "stream": false,
            "messages": [{"role": "user", "content": "List some things as JSON."}],
            "options": {"seed": seed, "temperature": 1.0, "num_predict": 400}});
        let server = &server;
        async move { server.post("/api/chat", &body).await.ok().json() }
    });
    for answer in join_all(asked).await {
        assert_eq!(answer["done_reason"], "stop", "{answer}");
        let text = answer["message"]["content"].as_str().unwrap();
        let whole: Value = serde_json::from_str(text).unwrap();
        let parts = whole["parts"].as_array().unwrap();
        assert!((1..=3).contains(&parts.len()), "{whole}");
        for part in parts {
            let is_text = part.as_str().is_some_and(|text| text.chars().count() <= 12);
            let is_object =
                ["red", "green"].iter().any(|kind| part["kind"] == *kind) || part["kind"] == 3;
            assert!(is_text || is_object && part["sizes"].is_array(), "{whole}");
        }
    }
}

#[tokio::test]
async fn smollm2_gets_the_prompt_of_the_template_that_was_chosen() {
    let name = "smollm2-135m";
    let Some(path) = real(name) else {
        skip(&format!("no {name} in DROVER_TEST_MODELS"));
        return;
    };
    let file = fs_err::read(path).unwrap();
    let chatml = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    let system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, \
                  trained by Hugging Face<|im_end|>\n";
    for (wants_template, prompt) in [
        ("true", chatml.to_owned()),
        ("false", format!("{system}{chatml}")),
    ] {
        let server = TestServer::builder()
            .env("OLLAMA_GO_TEMPLATE", wants_template)
            .start()
            .await;
        server.create(name, file.clone(), json!({})).await.ok();
        let mut body = question(name, "Hi");
        body["_debug_render_only"] = true.into();
        body["stream"] = false.into();
        let answer = server.post("/api/chat", &body).await.ok().json();
        assert_eq!(answer["_debug_info"]["rendered_template"], prompt);
        // Exactly what was rendered is evaluated: no additional token, and no second BOS.
        body["_debug_render_only"] = false.into();
        let chat = server.post("/api/chat", &body).await.ok().json();
        let raw = json!({"model": name, "prompt": prompt, "raw": true, "stream": false,
            "options": {"num_predict": 1}});
        let raw = server.post("/api/generate", &raw).await.ok().json();
        assert_eq!(chat["prompt_eval_count"], raw["prompt_eval_count"]);
    }
}

/// Gemma's turns, for its base model.
const GEMMA_TEMPLATE: &str = "{{ range .Messages }}<start_of_turn>{{ if eq .Role \"assistant\" }}model\
    {{ else }}{{ .Role }}{{ end }}\n{{ .Content }}<end_of_turn>\n{{ end }}<start_of_turn>model\n";

/// Layers with a sliding window cannot go back: what is not kept in time has to be computed again.
#[tokio::test]
async fn interleaved_conversations_with_a_window_compute_only_what_is_new() {
    let Some(path) = real("gemma3-270m") else {
        skip("no gemma3-270m in DROVER_TEST_MODELS");
        return;
    };
    let server = TestServer::builder()
        .env("OLLAMA_NUM_PARALLEL", "8")
        .start()
        .await;
    let file = fs_err::read(path).unwrap();
    let fields = json!({"template": GEMMA_TEMPLATE, "parameters": {"num_ctx": 4096}});
    server.create("gemma", file, fields).await.ok();
    let long = "The ship sails along the coast and the crew mends its nets. ".repeat(50);
    let mut conversations: Vec<Vec<Value>> = (0..4)
        .map(|n| vec![json!({"role": "user", "content": format!("Story {n}: {long}")})])
        .collect();
    let mut n_before = [0; 4];
    for turn in 0..6 {
        for (n, messages) in conversations.iter_mut().enumerate() {
            let body = json!({"model": "gemma", "messages": messages, "max_tokens": 12,
                "temperature": 0});
            let answer = server.post("/v1/chat/completions", &body).await.ok().json();
            let usage = &answer["usage"];
            let n_prompt = usage["prompt_tokens"].as_u64().unwrap();
            let n_cached = usage["prompt_tokens_details"]["cached_tokens"]
                .as_u64()
                .unwrap();
            let (n_computed, n_new) = (n_prompt - n_cached, n_prompt - n_before[n]);
            println!("conversation {n}, turn {turn}: {n_computed} computed, {n_new} new");
            assert!(turn == 0 || n_computed <= n_new + 20, "{usage}");
            n_before[n] = n_prompt;
            messages.push(answer["choices"][0]["message"].clone());
            let next = format!("Question {turn}: and what happens then?");
            messages.push(json!({"role": "user", "content": next}));
        }
    }
}
