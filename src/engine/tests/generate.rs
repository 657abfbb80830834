//! One answer: its text, its end, its numbers.

use super::*;
use crate::protocol::{Constraint, FailureKind, FinishReason, Token, TopLogprob};

#[test]
fn an_answer_ends_with_its_end_token() {
    let mut harness = Harness::new(256, 2);
    let outcome = harness.ask(params("hällo 😀"));
    assert_eq!(outcome.text, "hällo 😀");
    assert_eq!(outcome.n_prompt, Some(12));
    let finished = outcome.finished();
    assert_eq!(finished.reason, FinishReason::Stop);
    assert_eq!((finished.n_prompt, finished.n_cached), (12, 0));
    // Eleven bytes and the end token.
    assert_eq!(finished.n_generated, 12);
}

#[test]
fn bos_is_not_doubled_and_special_tokens_go_to_the_first_part_only() {
    let mut harness = Harness::new(256, 2);
    let text = |text: &str| PromptPart::Text(text.to_owned());
    let mut request = params("");
    request.prompt = vec![text("<|bos|>ab"), text("c"), PromptPart::Tokens(vec![100])];
    assert_eq!(harness.ask(request).n_prompt, Some(5));
    assert_eq!(harness.outcomes[&1].text, "abcd");
}

#[test]
fn n_predict_is_a_limit() {
    let mut harness = Harness::new(256, 2);
    let mut request = params("abcdef");
    request.n_predict = Some(3);
    let outcome = harness.ask(request.clone());
    assert_eq!(
        (outcome.text.as_str(), outcome.finished().n_generated),
        ("abc", 3)
    );
    assert_eq!(outcome.finished().reason, FinishReason::Length);
    request.n_predict = Some(0);
    let outcome = harness.ask(request);
    assert_eq!(
        (outcome.text.as_str(), outcome.finished().n_generated),
        ("", 0)
    );
    assert_eq!(outcome.finished().reason, FinishReason::Length);
}

#[test]
fn a_stop_string_ends_the_answer_and_is_not_output() {
    let mut harness = Harness::new(256, 2);
    let mut request = params("one END two");
    request.stop = vec!["END".to_owned()];
    let outcome = harness.ask(request);
    assert_eq!(outcome.text, "one ");
    let stop = FinishReason::StopSequence("END".to_owned());
    assert_eq!(outcome.finished().reason, stop);
}

#[test]
fn text_held_back_for_a_stop_string_comes_out_at_the_limit() {
    let mut harness = Harness::new(256, 2);
    let mut request = params("a EN and more");
    request.stop = vec!["END".to_owned()];
    request.n_predict = Some(4);
    assert_eq!(harness.ask(request).text, "a EN");
}

#[test]
fn special_tokens_are_output_only_if_preserved() {
    let mut harness = Harness::new(256, 2);
    let mut request = params("[[say a<|tool|>b]]");
    assert_eq!(harness.ask(request.clone()).text, "ab");
    request.preserved = vec!["<|tool|>".to_owned()];
    assert_eq!(harness.ask(request).text, "a<|tool|>b");
}

#[test]
fn every_token_but_the_end_has_a_logprob() {
    let mut harness = Harness::new(256, 2);
    let mut request = params("häh");
    request.logprobs = Some(2);
    let outcome = harness.ask(request);
    let bytes: Vec<u8> = outcome
        .logprobs
        .iter()
        .flat_map(|l| l.bytes.clone())
        .collect();
    assert_eq!(bytes, "häh".as_bytes());
    for entry in &outcome.logprobs {
        assert_eq!(entry.top.len(), 2);
        assert_eq!(entry.top[0].token, entry.token);
        assert!(entry.top[1].logprob < entry.logprob && entry.logprob < 0.0);
    }
}

#[test]
fn a_constraint_reaches_the_sampler_and_a_bad_one_is_refused() {
    let mut harness = Harness::new(256, 2);
    let mut request = params("x");
    request.constraint = Some(Constraint::JsonObject);
    assert_eq!(harness.ask(request.clone()).text, r#"{"answer":"x"}"#);
    request.constraint = Some(Constraint::JsonSchema("{".to_owned()));
    let failure = harness.ask(request).failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::Invalid);
}

#[test]
fn a_prompt_as_long_as_its_context_is_refused_with_both_numbers() {
    let mut harness = Harness::new(256, 2);
    let mut request = params("0123456");
    request.n_ctx = 8;
    let failure = harness.ask(request).failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::ContextExceeded);
    assert_eq!(
        failure.message,
        "request (8 tokens) exceeds the available context size (8 tokens), try increasing it"
    );
}

#[test]
fn what_cannot_be_served_is_refused_alone() {
    let mut harness = Harness::new(256, 2);
    let good = harness.submit(params("good"));
    let mut image = params("");
    image.prompt = vec![PromptPart::Media(String::new())];
    let image = harness.submit(image);
    let mut hostile = params("");
    hostile.prompt = vec![PromptPart::Tokens(vec![-1])];
    let hostile = harness.submit(hostile);
    let mut empty = params("");
    empty.prompt = Vec::new();
    let empty = harness.submit(empty);
    let failing = harness.submit(params("failing [[error 2]]"));
    harness.run();
    let kind = |id| harness.outcomes[&id].failure.as_ref().map(|f| f.kind);
    assert_eq!(kind(image), Some(FailureKind::Unsupported));
    assert_eq!(kind(hostile), Some(FailureKind::Invalid));
    assert_eq!(kind(empty), Some(FailureKind::Invalid));
    assert_eq!(kind(failing), Some(FailureKind::Internal));
    assert_eq!(harness.outcomes[&failing].text, "fa");
    assert_eq!(harness.outcomes[&good].text, "good");
}

#[test]
fn texts_become_tokens_and_texts_again() {
    let mut harness = Harness::new(256, 2);
    harness.command(Command::Tokenize {
        id: 7,
        texts: vec!["<|bos|>a<|eos|>".to_owned(), String::new()],
        add_special: true,
        parse_special: true,
        limit: None,
        client: String::new(),
    });
    for (id, tokens) in [(8, vec![97, 257]), (9, vec![5000])] {
        harness.command(Command::Detokenize {
            id,
            tokens,
            client: String::new(),
        });
    }
    let tokens = vec![vec![256, 97, 257], vec![256]];
    assert_eq!(harness.others[0], Event::Tokenized { id: 7, tokens });
    let text = "a<|eos|>".to_owned();
    assert_eq!(harness.others[1], Event::Detokenized { id: 8, text });
    assert!(harness.outcomes[&9].failure.is_some());
}

#[test]
fn eight_answers_progress_together() {
    let mut harness = Harness::new(4096, 8);
    let ids: Vec<_> = (0..8)
        .map(|n| harness.submit(params(&format!("{n} [[repeat 30]]"))))
        .collect();
    for _ in 0..20 {
        harness.step();
        let lengths: Vec<_> = ids
            .iter()
            .map(|id| harness.outcomes[id].text.len())
            .collect();
        let (least, most) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
        assert!(most - least <= 8, "{lengths:?}");
    }
    harness.run();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(harness.outcomes[id].text, vec![n.to_string(); 30].join(" "));
    }
}

#[test]
fn a_long_prompt_does_not_stop_an_answer() {
    let mut harness = Harness::new(4096, 2);
    let reading = harness.submit(params("a [[repeat 200]]"));
    harness.step();
    let long = harness.submit(params(&"x".repeat(1000)));
    while harness.outcomes[&long].text.is_empty() {
        let before = harness.outcomes[&reading].text.len();
        harness.step();
        assert!(
            harness.outcomes[&reading].is_over() || harness.outcomes[&reading].text.len() > before
        );
    }
}

#[test]
fn a_full_context_ends_the_answer_or_is_shifted() {
    let mut harness = Harness::new(256, 2);
    let mut request = params("abc [[repeat 100]]");
    request.n_ctx = 64;
    request.n_predict = Some(200);
    let outcome = harness.ask(request.clone());
    let finished = outcome.finished();
    assert_eq!(finished.reason, FinishReason::Length);
    assert_eq!(finished.n_prompt + finished.n_generated, 64);
    request.shift = true;
    let outcome = harness.ask(request);
    assert_eq!(outcome.finished().n_generated, 200);
    assert_eq!(outcome.text, "abc ".repeat(50));
}

#[test]
fn a_cancelled_answer_says_nothing_more() {
    let mut harness = Harness::new(256, 1);
    let running = harness.submit(params("abc [[repeat 40]]"));
    let waiting = harness.submit(params("waiting"));
    for _ in 0..5 {
        harness.step();
    }
    let n_before = harness.outcomes[&running].text.len();
    assert!(n_before > 0);
    harness.command(Command::Cancel { id: running });
    harness.command(Command::Cancel { id: waiting });
    harness.command(Command::Cancel { id: 999 });
    assert!(!harness.engine.has_work());
    harness.run();
    assert_eq!(harness.outcomes[&running].text.len(), n_before);
    assert!(!harness.outcomes[&running].is_over());
}

/// A request for the log-probabilities of its prompt, too.
fn telling(prompt: &str) -> GenerateParams {
    GenerateParams {
        logprobs: Some(1),
        prompt_logprobs: Some(10_000),
        n_predict: Some(1),
        ..params(prompt)
    }
}

/// Checks that every token of the prompt was reported once, in order.
#[track_caller]
fn check_told(outcome: &Outcome, prompt: &str) {
    let bytes: Vec<u8> = outcome
        .prompt
        .iter()
        .flat_map(|t| t.bytes.clone())
        .collect();
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        format!("<|bos|>{prompt}")
    );
    for (place, token) in outcome.prompt.iter().enumerate() {
        assert_eq!(token.logprob.is_none(), place == 0, "{place}");
        assert_eq!(token.top.len(), usize::from(place > 0), "{place}");
    }
    // To the fake, the same token again is probable.
    let doubled = outcome
        .prompt
        .windows(2)
        .filter(|pair| pair[0].token == pair[1].token);
    for pair in doubled {
        assert!(pair[1].logprob.is_some_and(|logprob| logprob > -0.1));
    }
}

#[test]
fn a_prompt_tells_all_its_tokens_whatever_the_cache_has() {
    let mut harness = Harness::new(1024, 2);
    let prompt = "hello, aaaa ".repeat(20);
    harness.ask(params(&prompt));
    for _ in 0..2 {
        let outcome = harness.ask(telling(&prompt));
        check_told(outcome, &prompt);
        assert_eq!(outcome.logprobs.len(), 1);
        assert_eq!(outcome.finished().n_cached, 0);
    }
    // Other requests can reuse what it evaluated.
    let outcome = harness.ask(params(&prompt));
    assert!(outcome.prompt.is_empty() && outcome.finished().n_cached > 200);
    let mut no_answer = telling("b");
    no_answer.n_predict = Some(0);
    check_told(harness.ask(no_answer), "b");
}

#[test]
fn tokens_that_a_request_names_are_told_in_its_order() {
    let mut harness = Harness::new(1024, 1);
    let of = b"cAb".map(Token::from);
    let told = |question: &str| GenerateParams {
        logprobs: Some(3),
        logprobs_of: of.to_vec(),
        n_predict: Some(1),
        ..params(question)
    };
    // The fake says `a`; to it, the next letter is somewhat probable.
    let outcome = harness.ask(told("a"));
    let [entry] = &outcome.logprobs[..] else {
        panic!("{:?}", outcome.logprobs);
    };
    let tokens: Vec<Token> = entry.top.iter().map(|top| top.token).collect();
    assert_eq!((entry.token, tokens), (97, of.to_vec()));
    let logprob = |place: usize| entry.top[place].logprob;
    assert!(logprob(2) > logprob(0) && logprob(2) < entry.logprob);
    // If the answer ends at once, its end token is reported, too.
    let outcome = harness.ask(told("[[say ]]"));
    assert_eq!(outcome.logprobs.len(), 1);
    assert_eq!(outcome.finished().reason, FinishReason::Stop);
    // A token that does not exist has the lowest log-probability.
    let outcome = harness.ask(GenerateParams {
        logprobs_of: vec![1 << 20, -1],
        ..told("a")
    });
    let unlikely = |top: &TopLogprob| top.logprob < -1e20;
    assert!(outcome.logprobs[0].top.iter().all(unlikely));
}

#[test]
fn prompts_are_told_beside_others_and_after_a_pause() {
    for window in [0, 64] {
        let keys = [("drover-fake.attention.sliding_window", window)];
        let keys = &keys[..usize::from(window > 0)];
        let mut harness = Harness::with_keys(600, 4, keys);
        let head =
            "the same beginning of all of them, longer than is worth waiting for, ".repeat(2);
        let prompts: Vec<String> = (0..3)
            .map(|n| format!("{head}{n}{}", "!".repeat(100)))
            .collect();
        let mut job = telling(&prompts[0]);
        job.priority = Priority::Batch;
        let mut ids = vec![harness.submit(job)];
        for _ in 0..3 {
            harness.step();
        }
        // Chats preempt it; what it has reported is not reported again.
        let others = [
            harness.submit(params(&head)),
            harness.submit(params(&head[5..])),
        ];
        ids.extend(
            prompts[1..]
                .iter()
                .map(|prompt| harness.submit(telling(prompt))),
        );
        harness.run();
        for (id, prompt) in ids.iter().zip(&prompts) {
            check_told(&harness.outcomes[id], prompt);
        }
        assert_eq!(harness.outcomes[&others[0]].text, head.trim());
        let n_preempted: u32 = harness.steps.iter().map(|stats| stats.n_preempted).sum();
        assert!(n_preempted > 0, "the job was paused");
    }
}

#[test]
fn no_more_is_told_of_a_prompt_than_was_agreed() {
    let mut harness = Harness::new(256, 2);
    let mut request = telling("abc");
    request.prompt_logprobs = Some(7);
    let failure = harness.ask(request).failure.as_ref().unwrap();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(
        failure.message.contains("4 tokens with 1 alternatives"),
        "{failure:?}"
    );
}
