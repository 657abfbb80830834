//! Recorded requests with the engine's output: prompts and answers are those of Ollama's server.
//!
//! How an answer is cut into pieces is not compared, since the fake model outputs one byte at a time.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::recorded::{Verdict, fixture, run, same_text};
use crate::support::TestServer;
use crate::support::models::fake;

const FILE: &str = "chat_stream.json";

/// The content of an answer, joined from all its pieces.
#[derive(Debug, Default, PartialEq)]
struct Said {
    content: String,
    thinking: String,
    calls: Vec<Value>,
    done_reason: String,
    error: bool,
}

impl Said {
    fn of(chunks: &[Value]) -> Self {
        let mut said = Self::default();
        for chunk in chunks {
            let part = match chunk.get("message") {
                Some(message) => message,
                None => chunk,
            };
            let text = |key: &str| part[key].as_str().unwrap_or_default();
            said.content += text("content");
            said.content += text("response");
            said.thinking += text("thinking");
            let calls = part["tool_calls"].as_array();
            let functions = calls
                .into_iter()
                .flatten()
                .map(|call| call["function"].clone());
            said.calls.extend(functions);
            said.done_reason += chunk["done_reason"].as_str().unwrap_or_default();
            said.error |= chunk.get("error").is_some();
        }
        said
    }
}

/// Cases that we do not follow on purpose, or in which the engine decides what is said.
fn skipped(name: &str) -> Option<&'static str> {
    match name {
        "runner ends without done" => Some("an engine of drover's always tells the end"),
        "runner error first" | "logprobs" => Some("this is what the engine says"),
        "parser generate tool calls only on done" => Some("calls are told in generate, too"),
        "parser without tool support falls back to generic" => {
            Some("the prompt opens no thinking block")
        }
        "format with parser, thinking and content in one chunk" => {
            Some("the original loses the thinking")
        }
        _ => None,
    }
}

/// The engine's output in a run.
fn spoken(pieces: &[Value]) -> String {
    let texts = pieces.iter().filter_map(|piece| piece["content"].as_str());
    texts.collect()
}

async fn verdict(server: &TestServer, case: &Value) -> Verdict {
    if let Some(reason) = skipped(case["name"].as_str().unwrap()) {
        return Verdict::Skipped(reason);
    }
    let pieces = case["runs"][0].as_array().unwrap();
    let mut answer = spoken(pieces);
    // The original runs the engine twice, for thinking and for the answer; drover's engine does both at once.
    if let Some(second) = case["runs"].get(1) {
        let (thinking, _) = answer.split_once("</think>").unwrap();
        answer = format!("{thinking}</think>{}", spoken(second.as_array().unwrap()));
    }
    let mut file = fake().value("drover-fake.context_length", 65536);
    file = file.value("drover-fake.answer", answer.as_str());
    let mut fields = json!({"info": {"model_family": case["model_family"]}});
    for key in ["template", "renderer", "parser"] {
        fields[key] = case[key].as_str().unwrap_or_default().into();
    }
    server.create("m", file.build(), fields).await.ok();

    let path = format!("/api/{}", case["endpoint"].as_str().unwrap());
    let mut request = case["request"].clone();
    if pieces.iter().any(|piece| piece["done_reason"] == "length") {
        request["options"] = json!({"num_predict": answer.len()});
    }
    let mut shown = request.clone();
    shown["_debug_render_only"] = true.into();
    shown["stream"] = false.into();
    let prompt = server.post(&path, &shown).await;
    let answered = server.post(&path, &request).await;
    if let Some(error) = case["error"].as_str() {
        let told = answered.error();
        return match told.contains(error) {
            true => Verdict::Same,
            false => Verdict::Differs(format!("want the error {error:?}, got {told:?}")),
        };
    }
    let prompt = prompt.json()["_debug_info"]["rendered_template"].clone();
    let wanted = &case["expected_completions"][0]["prompt"];
    if let Err(reason) = same_text(
        prompt.as_str().unwrap_or_default(),
        wanted.as_str().unwrap_or_default(),
    ) {
        return Verdict::Differs(format!("prompt: {reason}"));
    }
    let got = Said::of(&answered.lines());
    let want = Said::of(case["expected_chunks"].as_array().unwrap());
    if got == want {
        Verdict::Same
    } else {
        Verdict::Differs(format!("\n  got  {got:?}\n  want {want:?}"))
    }
}

#[tokio::test]
async fn prompts_and_answers_are_as_recorded() {
    let Some(fixture) = fixture(FILE) else { return };
    let server = TestServer::start().await;
    let mut verdicts = HashMap::new();
    for case in fixture["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap().to_owned();
        verdicts.insert(name, verdict(&server, case).await);
    }
    let verdicts = std::cell::RefCell::new(verdicts);
    run(FILE, |case| {
        let name = case["name"].as_str().unwrap();
        verdicts.borrow_mut().remove(name).unwrap()
    });
}
