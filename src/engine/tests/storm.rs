//! A long random mix of requests that arrive, continue, are cancelled and run out of room: no answer contains
//! another's text, every request that is not cancelled ends, nothing is left over.

use super::*;
use crate::protocol::FinishReason;

/// What one client of the storm expects.
struct Expected {
    id: RequestId,
    /// The whole answer; only this client gets it.
    answer: String,
    is_cancelled: bool,
}

struct Storm {
    harness: Harness,
    random: fastrand::Rng,
    expected: Vec<Expected>,
}

impl Storm {
    /// Too few cells for all the slots, so that some have to make room.
    fn new(seed: u64, keys: &[(&str, u32)], speculation: Speculation) -> Self {
        let file = model(keys);
        let load = LoadParams {
            speculation,
            ..load_params(file.path(), 1200, 8)
        };
        Self::over(seed, Harness::load(&load))
    }

    fn over(seed: u64, harness: Harness) -> Self {
        Self {
            harness,
            random: fastrand::Rng::with_seed(seed),
            expected: Vec::new(),
        }
    }

    /// A request with a unique name in it, often after a prefix that other requests share.
    fn submit(&mut self) {
        let random = &mut self.random;
        let own = format!("<{}>", self.expected.len());
        let head = "common beginning ".repeat(random.usize(0..6));
        let filler = "x".repeat(random.usize(0..150));
        let n_times = random.usize(1..12);
        let mut request = params(&format!(
            "{head}{own}{filler}[[say {own} says so]] [[repeat {n_times}]]"
        ));
        let mut answer = vec![format!("{own} says so"); n_times].join(" ");
        if random.u8(0..4) == 0 {
            let n_predict = random.usize(1..40);
            request.n_predict = Some(u32::try_from(n_predict).unwrap());
            answer.truncate(n_predict);
        }
        if random.u8(0..3) == 0 {
            request.priority = Priority::Batch;
        }
        request.client = format!("client {}", random.u8(0..5));
        let id = self.harness.submit(request);
        self.expected.push(Expected {
            id,
            answer,
            is_cancelled: false,
        });
    }

    fn cancel(&mut self) {
        let index = self.random.usize(0..self.expected.len());
        let expected = &mut self.expected[index];
        if !self.harness.outcomes[&expected.id].is_over() {
            expected.is_cancelled = true;
            self.harness.command(Command::Cancel { id: expected.id });
        }
    }

    fn rage(&mut self, n_requests: usize) {
        while self.expected.len() < n_requests {
            let is_calm = self.harness.engine.state.waiting.len() < 10;
            match self.random.u8(0..10) {
                0..3 if is_calm => self.submit(),
                3 if !self.expected.is_empty() => self.cancel(),
                _ => self.harness.step(),
            }
        }
        self.harness.run();
    }

    fn check(&self) -> usize {
        let mut n_complete = 0;
        for expected in &self.expected {
            let outcome = &self.harness.outcomes[&expected.id];
            if expected.is_cancelled {
                assert!(!outcome.is_over(), "it ended after its cancellation");
                assert!(
                    expected.answer.starts_with(&outcome.text),
                    "{:?} was told to the one who asked for {:?}",
                    outcome.text,
                    expected.answer
                );
                continue;
            }
            assert_eq!(outcome.failure, None, "{}", expected.answer);
            assert_eq!(outcome.text, expected.answer);
            n_complete += 1;
        }
        n_complete
    }
}

#[test]
fn a_storm_of_requests_leaves_everybody_with_their_own() {
    let window = |size| [("drover-fake.attention.sliding_window", size)];
    // Draft tokens can be taken back only from a text that is shorter than the window.
    for (seed, keys, speculation) in [
        (1, &[][..], Speculation::Off),
        (2, &[], Speculation::On),
        (3, &window(64), Speculation::Off),
        (4, &window(200), Speculation::On),
    ] {
        endure(Storm::new(seed, keys, speculation), speculation);
    }
}

#[test]
fn a_storm_leaves_everybody_with_their_own_beside_a_draft_model() {
    let setup = draft_model::Setup {
        n_ctx_pool: 1200,
        n_slots: 8,
        says: "> says so <1> says so <2> says no",
        ..draft_model::Setup::default()
    };
    endure(Storm::over(5, setup.load()), Speculation::On);
}

fn endure(mut storm: Storm, speculation: Speculation) {
    storm.rage(600);
    let n_complete = storm.check();
    assert!(n_complete > 300, "{n_complete}");
    let n_accepted: u32 = storm
        .harness
        .steps
        .iter()
        .map(|stats| stats.n_accepted)
        .sum();
    assert_eq!(n_accepted > 0, speculation == Speculation::On);
    let engine = &storm.harness.engine;
    assert!(engine.state.busy().is_empty() && engine.state.waiting.is_empty());
    // A single request afterwards has all the room there is.
    let long = "y".repeat(1100);
    let finished = storm
        .harness
        .ask(params(&format!("{long}[[say z]]")))
        .finished()
        .clone();
    assert_eq!(finished.reason, FinishReason::Stop);
}
