//! Embeddings: order, limits, refusals, turns.

use super::*;
use crate::engine::schedule::batch::Budget;
use crate::protocol::{EmbedInput, EmbedParams, EmbedResult, FailureKind};

fn embedder(n_slots: u32) -> Harness {
    let file = model(&[]);
    let mut params = load_params(file.path(), 256, n_slots);
    params.embedding = true;
    Harness::load(&params)
}

pub(super) fn inputs(texts: &[&str]) -> EmbedParams {
    EmbedParams {
        inputs: texts
            .iter()
            .map(|&text| EmbedInput::Text(text.to_owned()))
            .collect(),
        n_ctx: 32,
        truncate: true,
        normalize: true,
        priority: Priority::Interactive,
        client: "test".to_owned(),
    }
}

pub(super) fn embed(harness: &mut Harness, id: RequestId, params: EmbedParams) {
    harness.command(Command::Embed { id, params });
    harness.run();
}

fn result(harness: &Harness, wanted: RequestId) -> &EmbedResult {
    let mut results = harness.others.iter().filter_map(|event| match event {
        Event::Embedded { id, result } if *id == wanted => Some(result),
        _ => None,
    });
    results
        .next()
        .unwrap_or_else(|| panic!("{:?}", harness.outcomes))
}

#[test]
fn each_input_has_its_own_vector_of_length_one_however_they_are_batched() {
    let mut alone = embedder(1);
    let mut together = embedder(4);
    let texts = ["one", "two", "three", "four", "five", "six", "one"];
    embed(&mut alone, 1, inputs(&texts));
    embed(&mut together, 1, inputs(&texts));
    assert!(together.steps.len() < alone.steps.len());
    let (alone, together) = (result(&alone, 1), result(&together, 1));
    assert_eq!(alone, together);
    assert_eq!(alone.vectors.len(), 7);
    assert_eq!(alone.n_tokens, 4 + 4 + 6 + 5 + 5 + 4 + 4);
    assert_eq!(alone.vectors[0], alone.vectors[6]);
    assert_ne!(alone.vectors[0], alone.vectors[1]);
    for vector in &alone.vectors {
        let length: f32 = vector.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5);
    }
}

#[test]
fn long_inputs_are_cut_or_refused() {
    let mut harness = embedder(2);
    let long = "x".repeat(100);
    embed(&mut harness, 1, inputs(&[&long, &long[..31]]));
    let cut = result(&harness, 1);
    assert_eq!(cut.vectors[0], cut.vectors[1]);
    assert_eq!(cut.n_tokens, 64);
    let mut strict = inputs(&["short", &long]);
    strict.truncate = false;
    embed(&mut harness, 2, strict);
    let failure = harness.outcomes[&2].failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::ContextExceeded);
    assert_eq!(
        failure.message,
        "the input length exceeds the context length"
    );
}

#[test]
fn an_input_is_never_longer_than_a_batch() {
    let mut harness = embedder(2);
    let mut params = inputs(&[&"x".repeat(100)]);
    params.n_ctx = 256;
    embed(&mut harness, 1, params.clone());
    assert_eq!(result(&harness, 1).n_tokens, 64);
    params.truncate = false;
    embed(&mut harness, 2, params);
    assert_eq!(
        harness.outcomes[&2].failure.clone().unwrap().message,
        "input (101 tokens) is too large to process. increase the physical batch size (current batch size: 64)"
    );
}

#[test]
fn what_is_not_a_number_fails_its_own_request_only() {
    let mut harness = embedder(4);
    for (id, text) in [(1, "[[nan]]"), (2, "good")] {
        let params = inputs(&["fine", text]);
        harness.command(Command::Embed { id, params });
    }
    harness.run();
    let failure = harness.outcomes[&1].failure.clone().unwrap();
    assert_eq!(failure.message, "embedding contains NaN or Inf values");
    assert_eq!(result(&harness, 2).vectors.len(), 2);
}

#[test]
fn a_large_job_does_not_hold_up_a_small_one() {
    let mut harness = embedder(1);
    let many = vec!["text"; 50];
    harness.command(Command::Embed {
        id: 1,
        params: inputs(&many),
    });
    let mut small = inputs(&["small"]);
    small.client = "other".to_owned();
    harness.command(Command::Embed {
        id: 2,
        params: small,
    });
    harness.step();
    harness.step();
    assert_eq!(result(&harness, 2).vectors.len(), 1);
    harness.run();
    assert_eq!(result(&harness, 1).vectors.len(), 50);
}

#[test]
fn no_inputs_no_vectors() {
    let mut harness = embedder(1);
    embed(&mut harness, 1, inputs(&[]));
    assert_eq!(
        *result(&harness, 1),
        EmbedResult {
            vectors: Vec::new(),
            n_tokens: 0
        }
    );
}

#[test]
fn a_model_for_embeddings_refuses_to_generate() {
    let mut harness = embedder(1);
    let failure = harness.ask(params("hello")).failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::Unsupported);
}

#[test]
fn a_generating_model_embeds_between_its_answers_steps() {
    let mut harness = Harness::new(512, 2);
    let answer = harness.submit(params("abc [[repeat 60]]"));
    for _ in 0..5 {
        harness.step();
    }
    harness.command(Command::Embed {
        id: 100,
        params: inputs(&["some text"; 20]),
    });
    while harness.others.is_empty() {
        let before = harness.outcomes[&answer].text.len();
        harness.step();
        assert!(harness.outcomes[&answer].text.len() > before);
    }
    assert_eq!(result(&harness, 100).vectors.len(), 20);
    harness.run();
    assert_eq!(harness.outcomes[&answer].text, vec!["abc"; 60].join(" "));
}

#[test]
fn a_long_input_does_not_hold_up_an_answer() {
    let mut harness = Harness::new(1024, 2);
    let text = "some long text ".repeat(4);
    let long = EmbedParams {
        n_ctx: 64,
        ..inputs(&[&text, "short", &text])
    };
    embed(&mut harness, 100, long.clone());
    let alone = result(&harness, 100).clone();
    let answer = harness.submit(params("abc [[repeat 200]]"));
    for _ in 0..5 {
        harness.step();
    }
    // As nothing is measured, a step takes 32 prefill rows beside a decoding interactive sequence.
    harness.engine.state.budget = Budget::new(64, false);
    harness.command(Command::Embed {
        id: 101,
        params: long,
    });
    let n_before = harness.steps.len();
    while harness.others.len() < 2 {
        let before = harness.outcomes[&answer].text.len();
        harness.step();
        assert!(harness.outcomes[&answer].text.len() > before);
    }
    assert_eq!(*result(&harness, 101), alone);
    let most = harness.steps[n_before..].iter().map(|step| step.n_prefill);
    assert!(most.max().unwrap() <= 32);
}

#[test]
fn an_input_that_is_begun_keeps_its_place_beside_others_until_it_is_done_or_cancelled() {
    let mut harness = Harness::new(1024, 2);
    harness.submit(params("abc [[repeat 200]]"));
    harness.step();
    let begin = |harness: &mut Harness, id| {
        let params = EmbedParams {
            n_ctx: 64,
            ..inputs(&["some long text ".repeat(4).as_str()])
        };
        harness.engine.state.budget = Budget::new(64, false);
        harness.command(Command::Embed { id, params });
        harness.step();
        assert!(harness.engine.state.embeddings.begun_in().is_some());
    };
    begin(&mut harness, 100);
    let other = harness.submit(params("other"));
    harness.step();
    assert_eq!(result(&harness, 100).vectors.len(), 1);
    while !harness.outcomes[&other].is_over() {
        harness.step();
    }
    begin(&mut harness, 101);
    harness.command(Command::Cancel { id: 101 });
    assert!(harness.engine.state.embeddings.begun_in().is_none());
    let other = harness.submit(params("other"));
    while !harness.outcomes[&other].is_over() {
        harness.step();
    }
}

#[test]
fn inputs_wait_for_a_slot_and_for_room() {
    let mut harness = Harness::new(128, 1);
    let answers = ["a", "b"].map(|text| harness.submit(params(&format!("{text} [[repeat 30]]"))));
    harness.step();
    embed(&mut harness, 100, inputs(&["some text"]));
    assert_eq!(result(&harness, 100).vectors.len(), 1);
    for (id, text) in answers.into_iter().zip(["a", "b"]) {
        assert_eq!(harness.outcomes[&id].text, vec![text; 30].join(" "));
    }
}
