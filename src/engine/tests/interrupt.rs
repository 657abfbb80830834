//! Calls of batch jobs that are interrupted because an interactive request arrives.

use super::embed::inputs;
use super::*;

fn job(prompt: &str) -> GenerateParams {
    GenerateParams {
        priority: Priority::Batch,
        ..params(prompt)
    }
}

impl<B: Backend> Harness<B> {
    /// A step during which an interactive request arrives.
    fn interrupted_step(&mut self, step: impl Fn(&mut Self)) {
        self.engine.interrupt().raise();
        step(self);
        self.engine.interrupt().lower();
    }
}

#[test]
fn a_job_goes_on_where_it_was_broken_off() {
    for window in [0, 64] {
        let keys = [("drover-fake.attention.sliding_window", window)];
        let mut harness = Harness::with_keys(600, 2, &keys[..usize::from(window > 0)]);
        let long = format!("job {} [[repeat 40]]", "a".repeat(150));
        let ids = [
            harness.submit(job(&long)),
            harness.submit(job("other [[repeat 40]]")),
        ];
        let mut n_lost = 0;
        while harness.engine.has_work() {
            let before = harness.outcomes[&ids[1]].text.len();
            harness.interrupted_step(Harness::step);
            n_lost += usize::from(harness.outcomes[&ids[1]].text.len() == before);
            harness.step();
        }
        assert!(n_lost > 20, "calls were broken off: {n_lost}");
        assert_eq!(harness.outcomes[&ids[1]].text, vec!["other"; 40].join(" "));
        assert!(harness.outcomes[&ids[0]].finished().n_generated > 0);
    }
}

#[test]
fn nobody_else_is_broken_off() {
    let mut harness = Harness::new(512, 2);
    harness.submit(job("job [[repeat 40]]"));
    let chat = harness.submit(params("chat [[repeat 10]]"));
    while !harness.outcomes[&chat].is_over() {
        let before = harness.outcomes[&chat].text.len();
        harness.interrupted_step(Harness::step);
        let outcome = &harness.outcomes[&chat];
        assert!(outcome.is_over() || outcome.n_prompt.is_some() && outcome.text.len() >= before);
    }
    assert_eq!(harness.outcomes[&chat].text, ["chat"; 10].join(" "));
}

#[test]
fn a_job_that_is_broken_off_again_and_again_ends() {
    let mut harness = Harness::new(512, 2);
    let id = harness.submit(job("job"));
    for _ in 0..MANY {
        if harness.outcomes[&id].is_over() {
            assert_eq!(harness.outcomes[&id].text, "job");
            return;
        }
        // After its answer, the interactive client asks again.
        if !harness.engine.state.waiting.has_interactive() {
            harness.submit(params("chat"));
        }
        harness.interrupted_step(Harness::step);
    }
    panic!("the job never ended");
}

#[test]
fn embeddings_of_a_job_are_broken_off_and_made_again() {
    let mut harness = Harness::new(512, 2);
    let mut params = inputs(&["one", "two", "three"]);
    harness.command(Command::Embed {
        id: 1,
        params: params.clone(),
    });
    harness.run();
    params.priority = Priority::Batch;
    harness.command(Command::Embed { id: 2, params });
    // However often interactive requests arrive, every second call completes.
    for _ in 0..4 {
        assert!(harness.engine.has_work(), "each call is broken off once");
        harness.interrupted_step(Harness::step);
    }
    assert!(!harness.engine.has_work());
    let vectors = harness.others.iter().filter_map(|event| match event {
        Event::Embedded { result, .. } => Some(&result.vectors),
        _ => None,
    });
    let vectors: Vec<_> = vectors.collect();
    assert_eq!(vectors.len(), 2);
    assert_eq!(vectors[0], vectors[1]);
}
