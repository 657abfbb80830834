//! Drafts change how fast an answer comes, and nothing else.

use super::*;
use crate::protocol::{Constraint, FinishReason};

/// An engine with these keys in its model file and this kind of speculation.
fn harness(speculation: Speculation, n_slots: u32, keys: &[(&str, u32)]) -> Harness {
    let file = model(keys);
    Harness::load(&LoadParams {
        speculation,
        ..load_params(file.path(), 4096, n_slots)
    })
}

/// Drafts that were accepted, in all steps.
fn n_accepted(harness: &Harness) -> u32 {
    harness.steps.iter().map(|stats| stats.n_accepted).sum()
}

fn n_drafted(harness: &Harness) -> u32 {
    harness.steps.iter().map(|stats| stats.n_drafted).sum()
}

/// Runs a request with drafts, and checks that its answer is the same as without.
fn same(request: &GenerateParams) -> (Harness, RequestId) {
    let mut plain = harness(Speculation::Off, 2, &[]);
    let expected = plain.submit(request.clone());
    plain.run();
    let mut drafting = harness(Speculation::On, 2, &[]);
    let id = drafting.submit(request.clone());
    drafting.run();
    let (expected, outcome) = (&plain.outcomes[&expected], &drafting.outcomes[&id]);
    assert_eq!(outcome.text, expected.text);
    assert_eq!(outcome.logprobs, expected.logprobs);
    let (finished, expected) = (outcome.finished(), expected.finished());
    assert_eq!(finished.reason, expected.reason);
    assert_eq!(finished.n_generated, expected.n_generated);
    assert_eq!(n_drafted(&plain), 0);
    assert!(finished.n_accepted > 0, "{finished:?}");
    assert!(finished.n_accepted <= finished.n_drafted);
    assert_eq!(finished.n_accepted, n_accepted(&drafting));
    assert_eq!(finished.n_drafted, n_drafted(&drafting));
    assert!(drafting.steps.len() < plain.steps.len());
    (drafting, id)
}

const VERSE: &str = "ring a ring a roses";

#[test]
fn an_answer_that_repeats_itself_takes_few_steps() {
    let (harness, id) = same(&params(&format!("{VERSE} [[repeat 20]]")));
    let finished = harness.outcomes[&id].finished();
    assert_eq!(finished.reason, FinishReason::Stop);
    let n_steps = harness.steps.len();
    assert!(n_steps * 5 < finished.n_generated as usize, "{n_steps}");
}

#[test]
fn what_a_client_predicts_is_drafted() {
    const ANSWER: &str = "Pack my box with five dozen jugs of that fine old liquor, quoth the boy.";
    let mut file = model(&[]);
    file.write_all(b"drover-fake.answer").unwrap();
    file.write_all(&8_u32.to_le_bytes()).unwrap();
    file.write_all(&(ANSWER.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(ANSWER.as_bytes()).unwrap();
    let ask = |prediction: &str| {
        let mut harness = Harness::load(&LoadParams {
            speculation: Speculation::On,
            ..load_params(file.path(), 4096, 2)
        });
        let mut request = params("Say it.");
        request.prediction = prediction.to_owned();
        let outcome = harness.ask(request);
        assert_eq!(outcome.text, ANSWER);
        let accepted = outcome.finished().n_accepted;
        (accepted, harness.steps.len())
    };
    let (alone, n_steps) = ask("");
    assert!(alone < 10, "{alone}");
    let (right, n_right) = ask(ANSWER);
    assert!(right > 60, "{right}");
    assert!(n_right * 4 < n_steps, "{n_right} of {n_steps}");
    let (changed, _) = ask(&ANSWER.replace("five dozen", "six barrels of"));
    assert!(changed > 40, "{changed}");
    let (wrong, _) = ask("something else altogether");
    assert!(wrong <= alone + 2, "{wrong}");
}

#[test]
fn drafts_beyond_the_end_are_dropped() {
    // The draft continues beyond the end of the answer.
    let prompt = format!("{VERSE}, {VERSE}, and so on. [[say {VERSE}]]");
    let (harness, id) = same(&params(&prompt));
    assert_eq!(harness.outcomes[&id].text, VERSE);
    assert!(n_drafted(&harness) > n_accepted(&harness));
}

#[test]
fn an_end_token_in_a_guess_is_not_checked() {
    let prompt = format!("{VERSE}<|eos|> {VERSE}<|im_end|> [[say {VERSE}]]");
    let (harness, id) = same(&params(&prompt));
    assert_eq!(harness.outcomes[&id].text, VERSE);
}

#[test]
fn a_stop_string_in_a_guess_ends_the_answer() {
    let mut request = params(&format!("{VERSE} [[repeat 9]]"));
    request.stop = vec!["roses ring a ring".to_owned()];
    let (harness, id) = same(&request);
    assert_eq!(harness.outcomes[&id].text, "ring a ring a ");
}

#[test]
fn a_limit_in_a_guess_is_kept() {
    for n_predict in 25..60 {
        let mut request = params(&format!("{VERSE} [[repeat 9]]"));
        request.n_predict = Some(n_predict);
        let (harness, id) = same(&request);
        let finished = harness.outcomes[&id].finished();
        assert_eq!(finished.reason, FinishReason::Length);
        assert_eq!(finished.n_generated, n_predict);
    }
}

#[test]
fn a_context_that_ends_in_a_guess_ends_the_answer_or_is_shifted() {
    for n_ctx in [80, 81, 95, 96] {
        let mut request = params(&format!("{VERSE} [[repeat 40]]"));
        request.n_ctx = n_ctx;
        request.n_predict = Some(300);
        let (harness, id) = same(&request);
        let finished = harness.outcomes[&id].finished();
        assert_eq!(finished.reason, FinishReason::Length);
        assert_eq!(finished.n_prompt + finished.n_generated, n_ctx);
        request.shift = true;
        let (harness, id) = same(&request);
        assert_eq!(harness.outcomes[&id].finished().n_generated, 300);
    }
}

#[test]
fn every_token_of_a_guess_has_its_logprob() {
    let mut request = params(&format!("{VERSE} [[repeat 9]]"));
    request.logprobs = Some(2);
    let (harness, id) = same(&request);
    let entries = &harness.outcomes[&id].logprobs;
    let bytes: Vec<u8> = entries
        .iter()
        .flat_map(|entry| entry.bytes.clone())
        .collect();
    assert_eq!(bytes, harness.outcomes[&id].text.as_bytes());
}

#[test]
fn constrained_answers_are_guessed_too() {
    let mut request = params(&format!("{VERSE} [[repeat 9]]"));
    request.constraint = Some(Constraint::JsonObject);
    let (harness, id) = same(&request);
    assert!(harness.outcomes[&id].text.starts_with(r#"{"answer":"ring"#));
}

#[test]
fn several_sequences_guess_in_one_batch() {
    let mut harness = harness(Speculation::On, 8, &[]);
    let ids: Vec<_> = (0..8)
        .map(|n| harness.submit(params(&format!("{n} {VERSE} [[repeat 20]]"))))
        .collect();
    harness.run();
    for (n, id) in ids.iter().enumerate() {
        let outcome = &harness.outcomes[id];
        assert_eq!(outcome.text, vec![format!("{n} {VERSE}"); 20].join(" "));
        assert!(outcome.finished().n_accepted > 100, "{outcome:?}");
    }
    let drafting = harness.steps.iter().filter(|stats| stats.n_drafted > 0);
    let most = drafting.map(|stats| stats.n_rows).max();
    assert_eq!(most, Some(32), "as many as may have an output");
}

#[test]
fn a_failure_in_a_guess_fails_that_sequence_alone() {
    let mut harness = harness(Speculation::On, 2, &[]);
    let good = harness.submit(params(&format!("{VERSE} [[repeat 9]]")));
    let failing = harness.submit(params(&format!("{VERSE} [[repeat 9]] [[error 60]]")));
    harness.run();
    assert_eq!(harness.outcomes[&good].text, [VERSE; 9].join(" "));
    let outcome = &harness.outcomes[&failing];
    assert!(outcome.failure.is_some());
    assert_eq!(outcome.text.len(), 60);
}

#[test]
fn what_is_cached_after_guesses_is_what_was_said() {
    let mut harness = harness(Speculation::On, 1, &[]);
    let prompt = format!("{VERSE} [[repeat 9]]");
    let first = harness.submit(params(&prompt));
    for _ in 0..6 {
        harness.step();
    }
    let answer = harness.outcomes[&first].text.clone();
    assert!(n_drafted(&harness) > 0 && !harness.outcomes[&first].is_over());
    harness.command(Command::Cancel { id: first });
    // The fake fails if the sequence's cells do not hold what was said.
    let outcome = harness.ask(params(&format!("{prompt}{answer} [[say well]]")));
    assert_eq!(outcome.text, ["well"; 9].join(" "));
    let n_cached = outcome.finished().n_cached as usize;
    assert_eq!(n_cached, 1 + prompt.len() + answer.len() - 1);
}

#[test]
fn a_window_that_could_not_be_cut_back_gets_no_guesses() {
    let keys = [("drover-fake.attention.sliding_window", 100)];
    let mut harness = harness(Speculation::On, 2, &keys);
    let outcome = harness.ask(params(&format!("{VERSE} [[repeat 9]]")));
    assert_eq!(outcome.text, [VERSE; 9].join(" "));
    let n_prompt = outcome.finished().n_prompt;
    assert!(n_accepted(&harness) > 0);
    assert_eq!(
        harness.n_prefilled(),
        n_prompt,
        "nothing was evaluated twice"
    );
}

#[test]
fn nobody_makes_room_for_guesses() {
    let file = model(&[]);
    let load = LoadParams {
        speculation: Speculation::On,
        ..load_params(file.path(), 256, 2)
    };
    let mut harness = Harness::load(&load);
    // A draft would need the cells of the other slot.
    harness.ask(params("keep this [[say yes]]"));
    let mut request = params(&format!("{VERSE} [[repeat 40]]"));
    request.n_predict = Some(190);
    let outcome = harness.ask(request);
    assert_eq!(outcome.finished().n_generated, 190);
    let held: Vec<usize> = (0..2)
        .map(|slot| harness.engine.state.ledger.len(slot))
        .collect();
    assert!(held.iter().all(|&len| len > 20), "{held:?}");
}

#[test]
fn rows_that_cost_nothing_get_guesses() {
    let mut harness = harness(Speculation::Auto, 1, &[("drover-fake.step_us", 2000)]);
    let outcome = harness.ask(params(&format!("{VERSE} [[repeat 20]]")));
    assert_eq!(outcome.text, vec![VERSE; 20].join(" "));
    let finished = outcome.finished();
    assert!(
        finished.n_accepted > finished.n_generated / 2,
        "{finished:?}"
    );
}

#[test]
fn a_seed_is_kept_from_what_the_clock_decides() {
    let mut harness = harness(Speculation::Auto, 1, &[("drover-fake.step_us", 2000)]);
    let mut request = params(&format!("{VERSE} [[repeat 20]]"));
    request.sampling.seed = Some(1);
    assert_eq!(harness.ask(request).finished().n_drafted, 0);
}

#[test]
fn batch_jobs_do_not_guess_while_somebody_reads() {
    let mut harness = harness(Speculation::On, 2, &[]);
    let mut job = params(&format!("{VERSE} [[repeat 20]]"));
    job.priority = Priority::Batch;
    let job = harness.submit(job);
    let reader = harness.submit(params("0123456789 abcdefghijklmnopqrstuvwxyz"));
    while !harness.outcomes[&reader].is_over() {
        harness.step();
        let jobs = harness.engine.state.running.iter().flatten();
        let mut jobs = jobs.filter(|sequence| sequence.priority() == Priority::Batch);
        assert!(jobs.all(|job| job.n_drafted == 0));
    }
    harness.run();
    assert!(harness.outcomes[&job].finished().n_accepted > 0);
}
