//! The schedule against a made-up backend that fails as it likes: whatever comes of the plans, every
//! request ends, with its own text, and nothing is left over.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::commit::{Called, Decoded, Outcome, Sampled, SampledToken};
use super::embedding::{EmbedJob, Embedded};
use super::offers::{LEAST, Offer, Offers, Place};
use super::plan::{CacheOp, DecodeCall, StepPlan};
use super::sequence::Made;
use super::state::{Facts, State};
use crate::engine::output::Output;
use crate::engine::prompt::Prompt;
use crate::engine::row::{Row, SeqId};
use crate::engine::schedule::state::Prepared;
use crate::engine::tests::params;
use crate::protocol::{
    EmbedParams, Event, GenerateParams, Priority, RequestId, Speculation, Token,
};

const N_SLOTS: usize = 4;
const N_POOL: usize = 600;
const N_BATCH: usize = 64;
const N_CTX: u32 = 400;

/// Steps until all must be over.
const MANY: usize = 20_000;

/// A backend that keeps only tokens, and a host cache.
struct Machine {
    random: fastrand::Rng,
    /// One in so many calls and changes goes wrong; 0 = none.
    trouble: u32,
    window: Option<usize>,
    seqs: Vec<Vec<Token>>,
    /// Sequences share cells: the first `.1` of the one with this number.
    shares: Vec<Option<(usize, usize)>>,
    host: Vec<Vec<Token>>,
    /// Those of them that are in memory; the others have to be fetched.
    fetched: Vec<Vec<Token>>,
}

impl Offers for Machine {
    fn find(&self, prompt: &[Token]) -> Option<Offer<'_>> {
        let offers = self.host.iter().map(|tokens| {
            let n_common = super::prefix::reusable(prompt, tokens);
            let is_whole = self.window.is_none() || n_common == tokens.len();
            Offer {
                tokens,
                n_reuse: if is_whole { n_common } else { 0 },
                place: if self.fetched.contains(tokens) {
                    Place::Memory
                } else {
                    Place::File
                },
            }
        });
        let offers = offers.filter(|offer| offer.n_reuse > 0);
        offers.max_by_key(|offer| offer.n_reuse)
    }
}

/// The model: the next token of a text depends on all of it.
fn next(tokens: &[Token]) -> Token {
    let sum = tokens.iter().fold(7_i64, |sum, &token| {
        (sum * 31 + i64::from(token)).rem_euclid(1_000_003)
    });
    Token::try_from(sum % 26).unwrap()
}

fn letter(token: Token) -> u8 {
    b'a' + u8::try_from(token.rem_euclid(26)).unwrap()
}

/// What a request is answered if nothing goes wrong.
fn answer(prompt: &[Token], n: usize) -> String {
    let mut tokens = prompt.to_vec();
    for _ in 0..n {
        let token = next(&tokens);
        tokens.push(token);
    }
    let said = tokens[prompt.len()..].iter();
    said.map(|&token| char::from(letter(token))).collect()
}

impl Machine {
    fn goes_wrong(&mut self) -> bool {
        self.trouble > 0 && self.random.u32(0..self.trouble) == 0
    }

    fn n_cells(&self) -> usize {
        let shared = |index: usize| {
            let of = self.shares[index];
            of.map_or(0, |(_, n)| n.min(self.seqs[index].len()))
        };
        let own = (0..self.seqs.len()).map(|index| self.seqs[index].len() - shared(index));
        own.sum()
    }

    fn empty(&mut self, seq: SeqId) {
        let index = seq as usize;
        // Whoever shared its cells keeps them.
        for other in &mut self.shares {
            other.take_if(|(of, _)| *of == index);
        }
        self.seqs[index].clear();
        self.shares[index] = None;
    }

    /// Makes changes as the executor does.
    fn apply(&mut self, ops: &[CacheOp], lost: &mut BTreeSet<SeqId>) {
        for op in ops {
            match op {
                CacheOp::Clear { seq } => {
                    self.empty(*seq);
                    lost.remove(seq);
                }
                CacheOp::Cut { seq, from } => {
                    if lost.contains(seq) {
                        continue;
                    }
                    let is_past = |window| self.seqs[*seq as usize].len() > window;
                    assert!(!self.window.is_some_and(is_past), "it cannot be cut there");
                    if self.goes_wrong() {
                        self.empty(*seq);
                        lost.insert(*seq);
                    } else {
                        self.seqs[*seq as usize].truncate(*from as usize);
                    }
                }
                CacheOp::Copy { from, to, len } => {
                    assert!(self.seqs[*to as usize].is_empty() || lost.contains(to));
                    if lost.contains(from) {
                        self.empty(*to);
                        lost.insert(*to);
                        continue;
                    }
                    let tokens = self.seqs[*from as usize][..*len as usize].to_vec();
                    self.shares[*to as usize] = Some((*from as usize, tokens.len()));
                    self.seqs[*to as usize] = tokens;
                    lost.remove(to);
                }
                CacheOp::Shift { seq, from, to } => {
                    if lost.contains(seq) || self.goes_wrong() {
                        self.empty(*seq);
                        lost.insert(*seq);
                    } else {
                        self.seqs[*seq as usize].drain(*from as usize..*to as usize);
                    }
                }
                CacheOp::Save { seq, tokens } => {
                    if !lost.contains(seq) {
                        assert_eq!(&self.seqs[*seq as usize], tokens);
                        self.host.push(tokens.clone());
                        if self.random.bool() {
                            self.fetched.push(tokens.clone());
                        }
                        if self.host.len() > 5 {
                            self.host.remove(0);
                        }
                    }
                }
                CacheOp::Load {
                    seq, tokens, spare, ..
                } => {
                    let kept = self.host.iter().position(|kept| kept == tokens);
                    let kept = kept.map(|index| self.host.remove(index));
                    self.empty(*seq);
                    match kept {
                        Some(tokens) if !self.goes_wrong() => {
                            lost.remove(seq);
                            self.seqs[*seq as usize] = tokens;
                        }
                        _ => {
                            lost.insert(*seq);
                            for &other in spare {
                                self.empty(other);
                                lost.insert(other);
                            }
                        }
                    }
                }
            }
        }
    }

    fn extend(&mut self, rows: &[Row], lost: &BTreeSet<SeqId>) -> Called<()> {
        let rows: Vec<&Row> = rows.iter().filter(|row| !lost.contains(&row.seq)).collect();
        if self.goes_wrong() {
            return Called::Failed("as it happens".to_owned());
        }
        if self.n_cells() + rows.len() > N_POOL || self.goes_wrong() && self.goes_wrong() {
            return Called::NoSpace;
        }
        for row in rows {
            let seq = &mut self.seqs[row.seq as usize];
            assert_eq!(
                seq.len(),
                row.position as usize,
                "a row goes on where its sequence ends"
            );
            seq.push(row.token);
        }
        Called::Done(())
    }

    fn execute(&mut self, plan: &StepPlan) -> Outcome {
        let mut lost = BTreeSet::new();
        let mut outcome = Outcome::default();
        for tokens in &plan.fetch {
            // One that is damaged is gone.
            if self.goes_wrong() {
                self.host.retain(|kept| kept != tokens);
            } else {
                self.fetched.push(tokens.clone());
            }
        }
        if let Some(call) = &plan.embed {
            self.apply(&call.cache, &mut lost);
            let is_broken_off = call.is_for_jobs && self.goes_wrong();
            let called = (!is_broken_off).then(|| self.extend(&call.rows, &lost));
            outcome.embed = Some(match called {
                None => Embedded::Interrupted,
                Some(Called::Done(())) => {
                    let vectors = call.outputs.iter().map(|&row| {
                        let seq = &self.seqs[call.rows[row].seq as usize];
                        #[expect(clippy::cast_precision_loss, reason = "short texts")]
                        Some(vec![1.0, seq.len() as f32])
                    });
                    Embedded::Done(vectors.collect())
                }
                Some(Called::NoSpace) => Embedded::NoSpace,
                Some(Called::Failed(message)) => Embedded::Failed(message),
            });
        }
        self.apply(&plan.cache, &mut lost);
        if let Some(call) = &plan.decode {
            // One that is broken off leaves nothing.
            if !(call.is_for_jobs && self.goes_wrong()) {
                self.decode(call, &lost, &mut outcome);
            }
        }
        if let Some(window) = self.window {
            let floor = |tokens: &Vec<Token>| match tokens.len() {
                len if len > window => u32::try_from(len).unwrap(),
                _ => 0,
            };
            outcome.floors = self.seqs.iter().map(floor).collect();
        }
        outcome.lost = lost.iter().map(|&seq| seq as usize).collect();
        outcome
    }

    fn decode(&mut self, call: &DecodeCall, lost: &BTreeSet<SeqId>, outcome: &mut Outcome) {
        assert!(!call.rows.is_empty() && call.rows.len() <= N_BATCH);
        let mut has_drafts = false;
        let called = match self.extend(&call.rows, lost) {
            Called::NoSpace => Called::NoSpace,
            Called::Failed(message) => Called::Failed(message),
            Called::Done(()) => {
                let mut sampled = Vec::new();
                for segment in &call.segments {
                    let seq = u32::try_from(segment.slot).unwrap();
                    if segment.is_sampled && !lost.contains(&seq) {
                        sampled.push(self.sample(segment.slot, segment.n_draft));
                    }
                }
                has_drafts = sampled.iter().any(|sampled| sampled.n_drafted > 0);
                Called::Done(sampled)
            }
        };
        outcome.decode = Some(Decoded {
            prompts: Vec::new(),
            called,
            n_rows: call.rows.len(),
            has_drafts,
            ms: self.random.f64() * 100.0,
        });
    }

    /// Samples with some drafts, of which the last may be wrong.
    fn sample(&mut self, slot: usize, n_most: usize) -> Sampled {
        let n_drafted = self.random.usize(0..=n_most.min(3));
        let n_confirmed = self.random.usize(0..=n_drafted);
        let mut sampled = Sampled {
            slot,
            n_drafted,
            n_confirmed,
            ..Sampled::default()
        };
        let mut text = self.seqs[slot].clone();
        for index in 0..=n_confirmed {
            let token = next(&text);
            text.push(token);
            if index < n_confirmed {
                self.seqs[slot].push(token);
            }
            sampled.tokens.push(SampledToken {
                token,
                is_end: false,
                bytes: vec![letter(token)],
                logprob: None,
            });
        }
        if n_confirmed < n_drafted && self.goes_wrong() {
            self.empty(u32::try_from(slot).unwrap());
            sampled.is_lost = true;
        }
        if self.goes_wrong() {
            sampled.failed = Some("as it happens".to_owned());
        }
        sampled
    }
}

/// What one request waits for.
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

    /// A text that begins like others and goes on in its own way.
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

    /// The ledger says what the backend holds.
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
                // One that finds no room, even alone, ends where it is.
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
