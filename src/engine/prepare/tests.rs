//! Requests in preparation, with the fake's vocabulary: which is next, cancellation, refusals.

use std::time::{Duration, Instant};

use super::job::Job;
use super::state::{Queue, State};
use super::*;
use crate::engine::backend::Backend;
use crate::engine::backend::fake::{Fake, FakePreparer};
use crate::engine::tests::{load_params, model, params};
use crate::protocol::{Command, Constraint, FailureKind, GenerateParams, PromptPart, RequestId};

fn terms() -> Terms<FakePreparer> {
    let file = model(&[]);
    let fake = Fake::load(&load_params(file.path(), 4096, 2), &mut |_| {}).unwrap();
    Terms {
        preparer: Arc::clone(fake.preparer()),
        n_batch: 64,
        is_embedding: false,
    }
}

fn job(terms: &Terms<FakePreparer>, id: RequestId, params: GenerateParams) -> Job<FakePreparer> {
    let params = Box::new(params);
    let job = Job::new(Command::Generate { id, params }, terms);
    job.unwrap()
        .unwrap_or_else(|(_, failure)| panic!("{failure:?}"))
}

fn of(client: &str) -> GenerateParams {
    GenerateParams {
        client: client.to_owned(),
        ..params("hello")
    }
}

#[test]
fn a_cancellation_finds_a_request_in_every_place() {
    let terms = terms();
    let mut state = State::new(true);
    assert!(state.push(Queue::Texts, job(&terms, 1, of("a"))));
    assert!(state.push(Queue::Images, job(&terms, 2, of("a"))));
    assert!(state.push(Queue::Constraints, job(&terms, 3, of("a"))));
    assert!(state.push(Queue::Constraints, job(&terms, 4, of("b"))));
    assert!(state.start_compilation().is_some() && state.start_compilation().is_some());
    assert!(state.push(Queue::Texts, job(&terms, 5, of("a"))));
    let at_work = state.pop(Queue::Texts).unwrap();
    for id in 1..=5 {
        assert!(state.cancel(id), "{id}");
    }
    assert!(!state.take_back(at_work.id), "nobody wants it any more");
    assert!(state.end_compilation(3).is_none() && state.end_compilation(4).is_none());
    assert!(state.pop(Queue::Texts).is_none() && state.pop(Queue::Images).is_none());
    assert!(!state.cancel(1) && !state.is_compiling());
    // Nothing of the cancelled requests counts any more.
    let large = GenerateParams {
        prompt: vec![PromptPart::Media("x".repeat(1 << 20))],
        ..of("c")
    };
    for id in 10..1034 {
        let large = job(&terms, id, large.clone());
        assert!(state.has_room(&large), "{id}");
        state.push(Queue::Images, large);
    }
    assert!(!state.has_room(&job(&terms, 2000, large)));
}

#[test]
fn one_client_compiles_one_constraint_at_a_time() {
    let terms = terms();
    let mut state = State::new(false);
    let clients = ["1.1.1.1/a", "1.1.1.1/b", "2.2.2.2/a", "1.1.1.1/a"];
    for (id, client) in (1..).zip(clients) {
        state.push(Queue::Constraints, job(&terms, id, of(client)));
    }
    let mut next = || state.start_compilation().map(|job| job.id);
    assert_eq!([next(), next(), next()], [Some(1), Some(3), None]);
    assert!(state.end_compilation(1).is_some());
    assert_eq!(state.start_compilation().map(|job| job.id), Some(2));
    assert_eq!(state.overdue(Duration::MAX), None);
    let overdue = std::iter::from_fn(|| state.overdue(Duration::ZERO));
    let overdue: Vec<_> = overdue.collect();
    assert_eq!(overdue, [(3, true), (2, true), (4, false)]);
    // Their compilations still run.
    assert!(state.end_compilation(2).is_none() && state.is_compiling());
}

/// The result of preparing a prompt.
fn prepared(params: GenerateParams) -> Result<(usize, bool), FailureKind> {
    let params = Box::new(params);
    match now(Command::Generate { id: 1, params }, &terms(), None) {
        Ok(Outcome::Prepared(Prepared::Generation(sequence))) => {
            Ok((sequence.n_prompt, sequence.is_cut))
        }
        Ok(other) => panic!("{other:?}"),
        Err((_, failure)) => Err(failure.kind),
    }
}

#[test]
fn a_prompt_that_is_too_long_is_cut_only_where_that_is_wanted() {
    let long = |cut| GenerateParams {
        n_ctx: 100,
        cut,
        ..params(&"x".repeat(5000))
    };
    assert_eq!(prepared(long(false)), Err(FailureKind::ContextExceeded));
    // Four tokens and the BOS stay, and half of the rest.
    assert_eq!(prepared(long(true)), Ok((53, true)));
    let short = GenerateParams {
        cut: true,
        ..params("x")
    };
    assert_eq!(prepared(short), Ok((2, false)));
}

#[test]
fn a_prompt_far_too_long_is_not_read_to_its_end() {
    let begun = Instant::now();
    // Reading the last part would take a minute.
    let text = "x".repeat(1 << 20) + "[[read 60000]]";
    assert_eq!(prepared(params(&text)), Err(FailureKind::ContextExceeded));
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn what_no_honest_request_asks_for_is_refused() {
    let stops = |n: usize, text: &str| GenerateParams {
        stop: vec![text.to_owned(); n],
        ..params("x")
    };
    assert!(prepared(stops(256, "stop")).is_ok());
    assert_eq!(prepared(stops(257, "stop")), Err(FailureKind::Invalid));
    let long = "x".repeat(20_000);
    assert_eq!(prepared(stops(1, &long)), Err(FailureKind::Invalid));
    let book = params(&"x".repeat(33 << 20));
    assert_eq!(prepared(book), Err(FailureKind::ContextExceeded));
    let mut numbers = params("");
    numbers.prompt = vec![PromptPart::Tokens(vec![97; 9 << 20])];
    assert_eq!(prepared(numbers), Err(FailureKind::Invalid));
    let told = |n: usize| GenerateParams {
        logprobs: Some(0),
        logprobs_of: vec![97; n],
        ..params("x")
    };
    assert!(prepared(told(1024)).is_ok());
    assert_eq!(prepared(told(1025)), Err(FailureKind::Invalid));
    let bad = GenerateParams {
        constraint: Some(Constraint::JsonSchema("{".to_owned())),
        ..params("x")
    };
    assert_eq!(prepared(bad), Err(FailureKind::Invalid));
}
