//! `echo` with `logprobs`, by which evaluation harnesses get the likelihood of a given text.

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::real::{real, skip};

const PATH: &str = "/v1/completions";

fn floats(lists: &Value) -> Vec<Option<f64>> {
    let logprobs = lists["token_logprobs"].as_array().unwrap();
    logprobs.iter().map(Value::as_f64).collect()
}

fn texts(lists: &Value) -> Vec<&str> {
    let tokens = lists["tokens"].as_array().unwrap();
    tokens.iter().map(|token| token.as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_prompt_has_the_log_probabilities_that_it_had_as_an_answer() {
    for name in ["smollm2-135m", "gemma3-270m"] {
        let Some(path) = real(name) else {
            skip(&format!("no {name} in DROVER_TEST_MODELS"));
            return;
        };
        let server = TestServer::start().await;
        server
            .create(name, fs_err::read(path).unwrap(), json!({}))
            .await
            .ok();
        // Longer than the rows whose logits are kept at a time.
        let begin =
            "The sky above the port was the colour of television, tuned to a dead channel. "
                .repeat(4);
        let body = json!({"model": name, "prompt": begin, "temperature": 0, "max_tokens": 12,
            "logprobs": 1, "echo": true});
        let whole = server.post(PATH, &body).await.ok().json();
        let choice = &whole["choices"][0];
        let text = choice["text"].as_str().unwrap();
        assert!(
            text.starts_with(&begin) && text.len() > begin.len(),
            "{text}"
        );
        let lists = &choice["logprobs"];
        let (tokens, logprobs) = (texts(lists), floats(lists));
        let n_prompt = usize::try_from(whole["usage"]["prompt_tokens"].as_u64().unwrap()).unwrap();
        assert!(
            n_prompt > 50 && tokens.len() > n_prompt,
            "{n_prompt} of {}",
            tokens.len()
        );
        assert_eq!(tokens.len(), logprobs.len());
        assert_eq!(
            logprobs.iter().filter(|logprob| logprob.is_none()).count(),
            1
        );
        assert_eq!(
            (logprobs[0], &lists["top_logprobs"][0]),
            (None, &Value::Null)
        );
        // Each token begins where its list says.
        let chars: Vec<char> = text.chars().collect();
        for (token, offset) in tokens
            .iter()
            .zip(lists["text_offset"].as_array().unwrap())
            .skip(1)
        {
            let offset = usize::try_from(offset.as_u64().unwrap()).unwrap();
            let here: String = chars[offset..].iter().take(token.chars().count()).collect();
            assert!(
                here == *token || token.trim_start() == here.trim_start(),
                "{here} {token}"
            );
        }

        // The whole text as a prompt: tokens that were picked greedily are the likeliest there, too.
        let body = json!({"model": name, "prompt": text, "temperature": 0, "max_tokens": 0,
            "logprobs": 2, "echo": true});
        let again = server.post(PATH, &body).await.ok().json();
        let again = &again["choices"][0];
        assert_eq!(
            (&again["text"], &again["finish_reason"]),
            (&json!(text), &json!("length"))
        );
        assert_eq!(texts(&again["logprobs"]), tokens);
        for (place, (one, other)) in logprobs
            .iter()
            .zip(floats(&again["logprobs"]))
            .enumerate()
            .skip(1)
        {
            // Rows of other batches differ in the last bits.
            let difference = (one.unwrap() - other.unwrap()).abs();
            assert!(difference < 0.2, "{name} {place}: {one:?} {other:?}");
            if place >= n_prompt {
                let top = again["logprobs"]["top_logprobs"][place]
                    .as_object()
                    .unwrap();
                let best = top
                    .values()
                    .filter_map(Value::as_f64)
                    .fold(f64::MIN, f64::max);
                assert!(best - other.unwrap() < 0.2, "{name} {place}: {top:?}");
            }
        }

        // Streamed it is the same.
        let mut body = body;
        body["stream"] = json!(true);
        let events = server.post(PATH, &body).await.ok().events();
        assert_eq!(events[0]["choices"][0]["text"], json!(text));
        assert_eq!(events[0]["choices"][0]["logprobs"]["tokens"], json!(tokens));
    }
}

#[tokio::test]
async fn a_harness_gets_as_many_entries_as_it_sent_tokens() {
    let server = TestServer::start().await;
    server.fake_model("tiny").await;
    // What lm-eval's `local-completions` sends.
    let body = json!({"model": "tiny", "prompt": [[72, 105, 33], [104, 101, 108, 108, 111]],
        "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": true});
    let whole = server.post(PATH, &body).await.ok().json();
    for (index, text) in [(0, "Hi!"), (1, "hello")] {
        let choice = &whole["choices"][index];
        assert_eq!(choice["index"], json!(index));
        assert!(choice["text"].as_str().unwrap().starts_with(text));
        let logprobs = floats(&choice["logprobs"]);
        assert_eq!(logprobs.len(), text.len() + 1);
        assert_eq!(logprobs[0], None);
        assert!(logprobs[1..].iter().all(Option::is_some));
        assert_eq!(
            choice["logprobs"]["top_logprobs"][1]
                .as_object()
                .unwrap()
                .len(),
            1
        );
    }
    // A text is used as it is, without the model's template, and no part of it is lost.
    let long = "x".repeat(9000);
    let body =
        json!({"model": "tiny", "prompt": long, "max_tokens": 0, "logprobs": 0, "echo": true});
    let answer = server.post(PATH, &body).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    let body =
        json!({"model": "tiny", "prompt": "abc", "max_tokens": 0, "logprobs": 0, "echo": true});
    let whole = server.post(PATH, &body).await.ok().json();
    assert_eq!(
        texts(&whole["choices"][0]["logprobs"]),
        ["<|bos|>", "a", "b", "c"]
    );
    assert_eq!(
        whole["choices"][0]["logprobs"]["text_offset"],
        json!([0, 0, 1, 2])
    );
}
