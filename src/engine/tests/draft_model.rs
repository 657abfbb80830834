//! A second model's drafts change how fast an answer comes, and nothing else.

use super::*;
use crate::engine::backend::BackendError;
use crate::engine::draft_model::{self, DraftModel};
use crate::engine::schedule::step_times::StepTimes;
use crate::engine::speculate::{Drafter, Terms, Text};
use crate::protocol::{DraftParams, Token};

const ANSWER: &str = "Pack my box with five dozen jugs of that fine old liquor, quoth the boy.";

/// The same text except for a few letters.
const ALIKE: &str = "Pack my bag with five dogen jugs of that bine old lizuor, quoth thy boy.";

/// Slots, tokens and what the draft model says.
pub(super) struct Setup<'a> {
    pub(super) speculation: Speculation,
    pub(super) n_ctx_pool: u32,
    pub(super) n_slots: u32,
    pub(super) n_predict: u32,
    pub(super) target: &'a [(&'a str, u32)],
    pub(super) draft: &'a [(&'a str, u32)],
    /// The text that the draft model drafts from.
    pub(super) says: &'a str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            speculation: Speculation::On,
            n_ctx_pool: 4096,
            n_slots: 2,
            n_predict: 4,
            target: &[],
            draft: &[],
            says: ANSWER,
        }
    }
}

impl Setup<'_> {
    pub(super) fn load(&self) -> Harness {
        let (harness, refused) = self.try_load();
        assert_eq!(refused, Ok(()));
        harness
    }

    fn try_load(&self) -> (Harness, Result<(), BackendError>) {
        let target = model(self.target);
        let mut harness = Harness::load(&self.params(target.path()));
        let draft = self.draft();
        let refused = draft.map(|draft| harness.engine.draft_with(draft));
        (harness, refused)
    }

    fn params(&self, path: &std::path::Path) -> LoadParams {
        LoadParams {
            speculation: self.speculation,
            ..load_params(path, self.n_ctx_pool, self.n_slots)
        }
    }

    fn draft(&self) -> Result<DraftModel<Fake>, BackendError> {
        let (target, mut draft) = (model(self.target), model(self.draft));
        let (says, n_bytes) = (self.says.as_bytes(), self.says.len() as u64);
        draft.write_all(b"drover-fake.answer").unwrap();
        draft.write_all(&8_u32.to_le_bytes()).unwrap();
        draft.write_all(&n_bytes.to_le_bytes()).unwrap();
        draft.write_all(says).unwrap();
        let load = self.params(target.path());
        let params = DraftParams {
            model: ModelFile::original(draft.path()),
            n_predict: self.n_predict,
        };
        let params = draft_model::load_params(&load, &params);
        let draft = Fake::load(&params, &mut |_| {}).unwrap();
        let target = Fake::load(&load, &mut |_| {}).unwrap();
        DraftModel::new(draft, &target, self.n_predict as usize)
    }
}

fn say(text: &str) -> GenerateParams {
    params(&format!("[[say {text}]]"))
}

fn sum(harness: &Harness, of: impl Fn(&StepStats) -> u32) -> u32 {
    harness.steps.iter().map(of).sum()
}

#[test]
fn right_guesses_spare_most_steps() {
    let mut harness = Setup::default().load();
    let outcome = harness.ask(say(ANSWER));
    assert_eq!(outcome.text, ANSWER);
    let finished = outcome.finished();
    let n_tokens = finished.n_generated;
    assert!(finished.n_accepted * 10 >= n_tokens * 7, "{finished:?}");
    assert!(harness.steps.len() < n_tokens as usize / 3);
    assert_eq!(
        sum(&harness, |stats| stats.n_accepted),
        finished_of(&harness, 1).n_accepted
    );
}

fn finished_of(harness: &Harness, id: RequestId) -> &Finished {
    harness.outcomes[&id].finished()
}

#[test]
fn wrong_guesses_change_nothing() {
    for draft in [ALIKE, "something else", "P", ""] {
        let mut harness = Setup {
            says: draft,
            ..Setup::default()
        }
        .load();
        for _ in 0..2 {
            let outcome = harness.ask(say(ANSWER));
            assert_eq!(outcome.text, ANSWER);
        }
        let finished = finished_of(&harness, 1);
        assert!(
            finished.n_accepted < finished.n_drafted.max(1),
            "{finished:?}"
        );
        assert_eq!(finished.n_accepted > 30, draft == ALIKE, "{finished:?}");
    }
}

#[test]
fn several_sequences_are_guessed_in_one_batch() {
    let mut harness = Setup {
        n_slots: 6,
        ..Setup::default()
    }
    .load();
    let requests = (0..6).map(|n| params(&format!("{}[[say {ANSWER}]]", "x".repeat(n * 90))));
    let ids: Vec<_> = requests.map(|request| harness.submit(request)).collect();
    harness.run();
    for id in ids {
        let outcome = &harness.outcomes[&id];
        assert_eq!(outcome.text, ANSWER);
        assert!(outcome.finished().n_accepted > 30, "{outcome:?}");
    }
    let most = harness.steps.iter().map(|stats| stats.n_drafted).max();
    assert!(most > Some(4), "{most:?}");
}

#[test]
fn a_long_prompt_is_read_in_parts_while_others_go_on() {
    let mut harness = Setup {
        n_ctx_pool: 8192,
        ..Setup::default()
    }
    .load();
    let long = harness.submit(params(&format!("{}[[say {ANSWER}]]", "x".repeat(3000))));
    let short = harness.submit(say(&format!("{ANSWER} {ANSWER}")));
    harness.run();
    assert_eq!(harness.outcomes[&long].text, ANSWER);
    assert!(finished_of(&harness, short).n_accepted > 40);
    // A second turn continues from what the draft model has evaluated.
    let prompt = format!("{}[[say {ANSWER}]]{ANSWER} again", "x".repeat(3000));
    let outcome = harness.ask(params(&prompt));
    assert_eq!(outcome.text, ANSWER);
    assert!(outcome.finished().n_accepted > 40, "{outcome:?}");
}

#[test]
fn a_context_that_ends_in_a_guess_ends_the_answer_or_is_shifted() {
    for shift in [false, true] {
        let mut harness = Setup::default().load();
        let mut request = params(&format!("[[say {ANSWER}]] [[repeat 9]]"));
        (request.n_ctx, request.shift) = (128, shift);
        request.n_predict = Some(250);
        let finished = harness.ask(request).finished();
        let n_tokens = finished.n_prompt + finished.n_generated;
        assert_eq!(n_tokens > 128, shift, "{finished:?}");
        assert!(finished.n_accepted > 0);
    }
}

#[test]
fn a_full_cache_costs_the_guesses_and_not_the_answer() {
    let mut harness = Setup {
        n_ctx_pool: 256,
        n_slots: 4,
        ..Setup::default()
    }
    .load();
    for n in 0..12 {
        harness.submit(params(&format!("{n}{}[[say {ANSWER}]]", "x".repeat(20))));
    }
    harness.run();
    assert!(
        harness
            .outcomes
            .values()
            .all(|outcome| outcome.text == ANSWER)
    );
}

#[test]
fn a_window_does_not_keep_a_draft_model_from_going_back() {
    let windowed = [("drover-fake.attention.sliding_window", 16)];
    let mut harness = Setup {
        draft: &windowed,
        says: ALIKE,
        ..Setup::default()
    }
    .load();
    let outcome = harness.ask(say(ANSWER));
    assert_eq!(outcome.text, ANSWER);
    assert!(outcome.finished().n_accepted > 30, "{outcome:?}");
}

#[test]
fn another_vocabulary_is_refused_with_the_reason() {
    let setup = Setup {
        draft: &[("drover-fake.vocabulary", 7)],
        ..Setup::default()
    };
    let (_, refused) = setup.try_load();
    let reason = "their vocabularies differ".to_owned();
    assert_eq!(refused, Err(BackendError(reason)));
}

#[test]
fn a_text_longer_than_the_draft_model_knows_is_not_guessed() {
    let mut harness = Setup {
        draft: &[("drover-fake.context_length", 60)],
        ..Setup::default()
    }
    .load();
    let outcome = harness.ask(say(ANSWER));
    assert_eq!(outcome.text, ANSWER);
    assert_eq!(outcome.finished().n_drafted, 0);
}

/// How many tokens are drafted, given the time of a call of each model.
fn n_guessed(target_ms: f64, draft_ms: f64) -> usize {
    let setup = Setup::default();
    let mut draft = setup.draft().unwrap();
    draft.set_times(draft_ms);
    let tokens: Vec<Token> = ANSWER[..20].bytes().map(Token::from).collect();
    let text = Text {
        slot: 0,
        id: 1,
        tokens: &tokens,
        prediction: &[],
        n_most: 8,
        n_left: 100,
    };
    let terms = Terms {
        n_plain: 1,
        max_rows: 32,
        times: Some(&StepTimes::all(|_| target_ms)),
        n_prefill: 64,
        is_end: &|_| false,
    };
    draft.draft(&[text], &terms)[0].len()
}

#[test]
fn a_draft_model_guesses_where_it_is_quick_enough() {
    assert!(n_guessed(10.0, 1.0) > 1);
    assert_eq!(n_guessed(10.0, 20.0), 0);
}

#[test]
fn a_draft_model_guesses_also_what_shall_repeat() {
    let mut harness = Setup {
        speculation: Speculation::Auto,
        target: &[("drover-fake.step_us", 4000)],
        ..Setup::default()
    }
    .load();
    let mut request = say(ANSWER);
    request.sampling.temperature = 0.0;
    request.sampling.seed = Some(1);
    let outcome = harness.ask(request);
    assert_eq!(outcome.text, ANSWER);
    assert!(outcome.finished().n_accepted > 0, "{outcome:?}");
}
