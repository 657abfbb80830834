//! The schedule against a fake backend that fails at random: whatever the outcomes, every request ends with its
//! own text, and nothing is left over.

mod machine;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::embedding::EmbedJob;
use super::offers::LEAST;
use super::sequence::Made;
use super::state::{Facts, State};
use crate::engine::output::Output;
use crate::engine::prompt::Prompt;
use crate::engine::schedule::state::Prepared;
use crate::engine::tests::params;
use crate::protocol::{
    EmbedParams, Event, GenerateParams, Priority, RequestId, Speculation, Token,
};
use machine::{Machine, answer};

const N_SLOTS: usize = 4;
const N_POOL: usize = 600;
const N_BATCH: usize = 64;
const N_CTX: u32 = 400;

/// Steps after which every request must have ended.
const MANY: usize = 20_000;

/// What one request expects.
struct Expected {
    answer: String,
    is_cancelled: bool,
}

struct Run {
    state: State<()>,
    machine: Machine,
    expected: HashMap<RequestId, Expected>,
    texts: HashMap<RequestId, String>,
    ended: HashMap<RequestId, bool>,
    now: Instant,
    next_id: RequestId,
}

fn any_priority(random: &mut fastrand::Rng) -> Priority {
    match random.u8(0..4) {
        0 => Priority::Batch,
        _ => Priority::Interactive,
    }
}

impl Run {
    fn new(seed: u64, trouble: u32, window: Option<usize>) -> Self {
        let facts = Facts {
            n_slots: N_SLOTS,
            n_pool: N_POOL,
            n_batch: N_BATCH,
            n_outputs: N_BATCH,
            on_gpu: false,
            can_shift: window.is_none(),
            add_bos: false,
            is_windowed: window.is_some(),
            is_interruptible: false,
            is_embedding: false,
            speculation: if window.is_none() {
                Speculation::On
            } else {
                Speculation::Off
            },
            has_draft_model: false,
            has_host_cache: true,
        };
        Self {
            state: State::new(facts),
            machine: Machine {
                random: fastrand::Rng::with_seed(seed),
                trouble,
                window,
                seqs: vec![Vec::new(); N_SLOTS],
                shares: vec![None; N_SLOTS],
                host: Vec::new(),
                fetched: Vec::new(),
            },
            expected: HashMap::new(),
            texts: HashMap::new(),
            ended: HashMap::new(),
            now: Instant::now(),
            next_id: 1,
        }
    }

    /// A prompt that begins like others and then differs.
    fn prompt(&mut self) -> Vec<Token> {
        let random = &mut self.machine.random;
        let n_shared = random.usize(0..LEAST * 2);
        let n_own = random.usize(1..60);
        let own = Token::try_from(self.next_id).unwrap();
        let shared = (0..n_shared).map(|place| Token::try_from(place % 13).unwrap());
        shared
            .chain(std::iter::repeat_n(1000 + own, n_own))
            .collect()
    }

    fn generate(&mut self) {
        let prompt = self.prompt();
        let id = self.next_id;
        self.next_id += 1;
        let random = &mut self.machine.random;
        let n_predict = random.usize(0..40);
        let params = GenerateParams {
            n_predict: Some(u32::try_from(n_predict).unwrap()),
            priority: any_priority(random),
            client: format!("client {}", random.u8(0..4)),
            ..params("")
        };
        let made = Made {
            params,
            n_ctx: N_CTX,
            prompt: Prompt {
                tokens: prompt.clone(),
                ..Prompt::default()
            },
            prediction: Vec::new(),
            is_cut: false,
            sampler: (),
            output: Output::new(&[]),
            preserved: HashSet::new(),
        };
        let answer = answer(&prompt, n_predict);
        self.expect(id, answer);
        let sequence = made.sequence(id, self.now);
        self.state.enter(Prepared::Generation(Box::new(sequence)));
    }

    fn embed(&mut self) {
        let inputs: Vec<Vec<Token>> = (0..3)
            .map(|_| {
                let mut prompt = self.prompt();
                prompt.truncate(N_BATCH);
                prompt
            })
            .collect();
        let id = self.next_id;
        self.next_id += 1;
        let params = EmbedParams {
            inputs: Vec::new(),
            n_ctx: N_CTX,
            truncate: true,
            normalize: false,
            priority: any_priority(&mut self.machine.random),
            client: "client 0".to_owned(),
        };
        let lens: Vec<String> = inputs.iter().map(|input| input.len().to_string()).collect();
        self.expect(id, lens.join(" "));
        let job = EmbedJob::new(id, params, inputs);
        self.state.enter(Prepared::Embedding(job));
    }

    fn expect(&mut self, id: RequestId, answer: String) {
        let is_cancelled = false;
        self.expected.insert(
            id,
            Expected {
                answer,
                is_cancelled,
            },
        );
    }

    fn cancel(&mut self) {
        let id = self.machine.random.u64(1..=self.next_id);
        if !self.ended.contains_key(&id)
            && let Some(expected) = self.expected.get_mut(&id)
        {
            expected.is_cancelled = true;
            self.state.cancel(&[id]);
        }
    }

    fn step(&mut self) {
        let plan = self.state.plan(&self.machine, self.now);
        let outcome = self.machine.execute(&plan);
        let started = self.now;
        self.now += Duration::from_millis(10);
        self.state.commit(plan, outcome, started, self.now);
        self.listen();
        self.check_cells();
    }

    /// Checks that the ledger matches what the backend holds.
    fn check_cells(&mut self) {
        let mut lost = BTreeSet::new();
        self.machine.apply(&self.state.ledger.take_ops(), &mut lost);
        for seq in lost {
            self.state.ledger.lose(seq as usize);
        }
        for (slot, held) in self.machine.seqs.iter().enumerate() {
            assert_eq!(self.state.ledger.held(slot), held, "slot {slot}");
        }
    }

    fn listen(&mut self) {
        for event in self.state.take_events() {
            match event {
                Event::Step { updates, .. } => {
                    for update in updates {
                        assert!(!self.ended.contains_key(&update.id));
                        assert!(!self.expected[&update.id].is_cancelled);
                        self.texts
                            .entry(update.id)
                            .or_default()
                            .push_str(&update.text);
                        if update.finished.is_some() {
                            self.ended.insert(update.id, true);
                        }
                    }
                }
                Event::Failed { id, .. } => {
                    assert_eq!(self.ended.insert(id, false), None, "one end each");
                }
                Event::Embedded { id, result } => {
                    let lens = result.vectors.iter().map(|vector| vector[1].to_string());
                    let lens = lens.collect::<Vec<_>>().join(" ");
                    self.texts.insert(id, lens);
                    assert_eq!(self.ended.insert(id, true), None, "one end each");
                }
                _ => {}
            }
        }
    }

    fn finish(&mut self) {
        for _ in 0..MANY {
            if !self.state.has_work() {
                return;
            }
            self.step();
        }
        panic!("somebody starves: {} wait", self.state.waiting.len());
    }

    fn check(&self) {
        for (id, expected) in &self.expected {
            let text = self.texts.get(id).map_or("", String::as_str);
            match self.ended.get(id) {
                Some(true) if self.machine.trouble == 0 => {
                    assert_eq!(text, expected.answer, "request {id}");
                }
                // A request that does not fit, even alone, ends early.
                Some(true) => assert!(expected.answer.starts_with(text), "request {id}"),
                Some(false) => {
                    assert!(self.machine.trouble > 0, "nothing went wrong");
                    assert!(expected.answer.starts_with(text), "request {id}");
                }
                None => {
                    assert!(expected.is_cancelled, "request {id} has no end");
                    assert!(expected.answer.starts_with(text), "request {id}");
                }
            }
        }
        assert!(self.state.busy().is_empty() && self.state.embeddings.is_empty());
        assert_eq!(self.state.embeddings.begun_in(), None);
    }
}

fn rage(seed: u64, trouble: u32, window: Option<usize>, n_requests: u64) {
    let mut run = Run::new(seed, trouble, window);
    while run.next_id <= n_requests {
        match run.machine.random.u8(0..12) {
            0..2 if run.state.waiting.len() < 12 => run.generate(),
            2 if run.state.waiting.len() < 12 => run.embed(),
            3 => run.cancel(),
            _ => run.step(),
        }
    }
    run.finish();
    run.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn everybody_gets_their_own_whatever_comes_of_the_plans(
        seed: u64,
        trouble in prop_oneof![Just(0_u32), Just(200), Just(20)],
        window in prop_oneof![Just(None), Just(Some(64_usize))],
    ) {
        rage(seed, trouble, window, 60);
    }

    #[test]
    fn the_same_commands_and_outcomes_give_the_same_plans(seed: u64) {
        let trace = || {
            let mut run = Run::new(seed, 50, None);
            let start = run.now;
            let mut plans = Vec::new();
            for step in 0..60_u64 {
                if step % 3 == 0 {
                    run.generate();
                }
                let plan = run.state.plan(&run.machine, start);
                plans.push(format!("{:?} {:?}", plan.cache, plan.decode));
                let outcome = run.machine.execute(&plan);
                run.state.commit(plan, outcome, start, start);
                run.listen();
            }
            plans
        };
        prop_assert_eq!(trace(), trace());
    }
}
