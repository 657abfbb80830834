//! Embeddings: as many inputs as fit into one decode call; jobs of several clients take turns.
//!
//! They use idle slots and a separate decode call, which is short while an interactive sequence generates. If a
//! long input does not fit, a generative model evaluates it over several steps, keeping the evaluated part in
//! its slot. An embedding model must get an input in one call.

use std::collections::HashSet;
use std::ops::Range;

use super::ledger::seq;
use super::plan::CacheOp;
use super::state::State;
use crate::engine::failure::failure;
use crate::engine::row::Row;
use crate::engine::units::to_u32;
use crate::fair_queue::FairQueue;
use crate::protocol::{
    EmbedParams, EmbedResult, Event, Failure, FailureKind, Priority, RequestId, Token,
};

/// An embedding request in progress.
#[derive(Debug)]
pub(in crate::engine) struct EmbedJob {
    id: RequestId,
    /// Without the inputs' texts, whose tokens are in `inputs`.
    params: EmbedParams,
    /// Each fits into a batch.
    inputs: Vec<Vec<Token>>,
    /// Those of finished inputs; the next input follows them.
    vectors: Vec<Vec<f32>>,
    n_tokens: usize,
}

/// A partly evaluated input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Begun {
    /// The request whose next input it is.
    id: RequestId,
    /// Reserved until the input is done, unless the pool is full.
    slot: usize,
}

/// The embedding requests that wait for their turn.
#[derive(Debug, Default)]
pub(in crate::engine) struct Embeddings {
    jobs: FairQueue<EmbedJob>,
    /// The partly evaluated input; one at a time.
    begun: Option<Begun>,
    /// The most inputs of the next call, after one that found no room.
    n_inputs: Option<usize>,
    /// The last call was interrupted; the next one may not be, so that jobs make progress.
    was_broken_off: bool,
}

/// An input in a call.
#[derive(Debug)]
struct Input {
    /// Index of its job among those of the call.
    job: usize,
    /// Its number after the job's finished ones.
    next: usize,
    slot: usize,
    n_tokens: usize,
    /// The part of the input that this call evaluates.
    part: Range<usize>,
}

impl Input {
    /// Whether the call evaluates its last token, which has the embedding.
    fn is_last(&self) -> bool {
        self.part.end == self.n_tokens
    }
}

/// A decode call for embeddings.
#[derive(Debug)]
pub(in crate::engine) struct EmbedCall {
    /// Cache operations to apply first.
    pub(in crate::engine) cache: Vec<CacheOp>,
    pub(in crate::engine) rows: Vec<Row>,
    /// The rows that have an input's embedding.
    pub(in crate::engine) outputs: Vec<usize>,
    /// All inputs belong to batch jobs, and the last call was not interrupted.
    pub(in crate::engine) may_break_off: bool,
    inputs: Vec<Input>,
    jobs: Vec<Option<EmbedJob>>,
}

/// The outcome of a call.
#[derive(Debug)]
pub(in crate::engine) enum Embedded {
    /// A vector for each output, `None` where the model gave none.
    Done(Vec<Option<Vec<f32>>>),
    NoSpace,
    /// Interrupted: as if the call had not been made.
    Interrupted,
    Failed(String),
}

impl EmbedJob {
    pub(in crate::engine) fn new(
        id: RequestId,
        params: EmbedParams,
        inputs: Vec<Vec<Token>>,
    ) -> Self {
        Self {
            id,
            params,
            inputs,
            vectors: Vec::new(),
            n_tokens: 0,
        }
    }

    pub(super) fn priority(&self) -> Priority {
        self.params.priority
    }

    fn is_done(&self) -> bool {
        self.vectors.len() >= self.inputs.len()
    }

    /// The `next`-th input after the finished ones.
    fn next(&self, next: usize) -> Option<&Vec<Token>> {
        self.inputs.get(self.vectors.len() + next)
    }

    /// Takes the next input's vector.
    fn take(&mut self, n_tokens: usize, mut vector: Vec<f32>) -> Result<(), Failure> {
        if vector.iter().any(|value| !value.is_finite()) {
            return Err(failure(
                FailureKind::Invalid,
                "embedding contains NaN or Inf values",
            ));
        }
        if self.params.normalize {
            normalize(&mut vector);
        }
        self.vectors.push(vector);
        self.n_tokens += n_tokens;
        Ok(())
    }
}

impl Embeddings {
    pub(super) fn push(&mut self, job: EmbedJob) {
        let (priority, client) = (job.params.priority, job.params.client.clone());
        self.jobs.push(priority, &client, job);
    }

    pub(super) fn cancel(&mut self, ids: &HashSet<RequestId>) {
        self.jobs.retain(|job| !ids.contains(&job.id));
        self.begun.take_if(|begun| ids.contains(&begun.id));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// The slot reserved for a partly evaluated input.
    pub(in crate::engine) fn begun_in(&self) -> Option<usize> {
        self.begun.map(|begun| begun.slot)
    }

    /// Gives that slot up; its input starts over.
    pub(super) fn give_up(&mut self) -> Option<usize> {
        self.begun.take().map(|begun| begun.slot)
    }
}

impl<S> State<S> {
    /// A call for the inputs whose turn it is, if some wait.
    pub(super) fn plan_embeddings(&mut self) -> Option<EmbedCall> {
        if self.embeddings.is_empty() {
            return None;
        }
        let (jobs, inputs) = self.next_inputs();
        if inputs.is_empty() {
            for job in jobs.into_iter().flatten() {
                self.go_on(job);
            }
            return None;
        }
        for input in &inputs {
            if input.part.start == 0 {
                self.save_prefix(input.slot, 0);
                self.ledger.clear(input.slot);
            }
            self.ledger.touch(input.slot);
        }
        let (rows, outputs) = self.input_rows(&inputs, &jobs);
        let cache = self.ledger.take_ops();
        // A sequence that gets one of these slots in this step finds it empty.
        for input in inputs.iter().filter(|input| input.is_last()) {
            self.ledger.reset(input.slot);
        }
        let mut asked = jobs.iter().flatten();
        let is_for_jobs = asked.all(|job| job.priority() == Priority::Batch);
        let was_broken_off = std::mem::take(&mut self.embeddings.was_broken_off);
        Some(EmbedCall {
            cache,
            may_break_off: is_for_jobs && !was_broken_off,
            rows,
            outputs,
            inputs,
            jobs,
        })
    }

    /// Fills a batch from the jobs whose turn it is.
    fn next_inputs(&mut self) -> (Vec<Option<EmbedJob>>, Vec<Input>) {
        let mut idle = self.idle().into_iter();
        let short = self.budget.n_prefill(self.is_somebody_reading());
        let mut room = self.facts.n_largest_batch().min(short);
        let n_inputs = self.embeddings.n_inputs.unwrap_or(usize::MAX);
        let mut jobs = Vec::new();
        let mut inputs: Vec<Input> = Vec::new();
        'jobs: while room > 0 {
            let Some(job) = self.embeddings.jobs.pop() else {
                break;
            };
            let index = jobs.len();
            let mut next = 0;
            while let Some(tokens) = job.next(next) {
                let begun = self
                    .embeddings
                    .begun
                    .filter(|begun| begun.id == job.id && next == 0);
                let n_held = begun.map_or(0, |begun| self.ledger.len(begun.slot));
                let n_left = tokens.len() - n_held;
                let is_first = inputs.is_empty();
                let may_split = !self.facts.is_embedding && begun == self.embeddings.begun;
                let is_whole = n_left <= room || is_first && self.facts.is_embedding;
                if is_first && !is_whole && !may_split {
                    // It waits until the partly evaluated input is done.
                    jobs.push(Some(job));
                    continue 'jobs;
                }
                let is_taken = (is_whole || is_first) && inputs.len() < n_inputs;
                let own = begun.map(|begun| begun.slot);
                let slot = is_taken.then(|| own.or_else(|| idle.next())).flatten();
                let Some(slot) = slot else {
                    jobs.push(Some(job));
                    break 'jobs;
                };
                let n_rows = if is_whole { n_left } else { room };
                let input = Input {
                    job: index,
                    next,
                    slot,
                    n_tokens: tokens.len(),
                    part: n_held..n_held + n_rows,
                };
                room = room.saturating_sub(n_rows);
                next += 1;
                if !input.is_last() {
                    self.embeddings.begun = Some(Begun { id: job.id, slot });
                }
                inputs.push(input);
            }
            jobs.push(Some(job));
        }
        (jobs, inputs)
    }

    /// The idle slots, the least valuable ones first.
    fn idle(&self) -> Vec<usize> {
        let slots = 0..self.running.len();
        let mut idle: Vec<usize> = slots.filter(|&slot| self.is_idle(slot)).collect();
        idle.sort_by_key(|&slot| (self.ledger.len(slot) > 0, self.ledger.last_used(slot)));
        idle
    }

    /// The rows of these inputs, and which of them have the embeddings.
    fn input_rows(&self, inputs: &[Input], jobs: &[Option<EmbedJob>]) -> (Vec<Row>, Vec<usize>) {
        let (mut rows, mut outputs) = (Vec::new(), Vec::new());
        for input in inputs {
            let job = jobs[input.job].as_ref();
            let tokens = job.and_then(|job| job.next(input.next));
            let tokens = tokens.map_or(&[][..], |tokens| &tokens[input.part.clone()]);
            let last = input.n_tokens - 1;
            rows.extend(
                tokens
                    .iter()
                    .zip(input.part.clone())
                    .map(|(&token, place)| Row {
                        token,
                        position: to_u32(place),
                        seq: seq(input.slot),
                        // Pooling needs every row; without it the last one stands for all.
                        output: self.facts.is_embedding || place == last,
                    }),
            );
            if input.is_last() {
                outputs.push(rows.len().saturating_sub(1));
            }
        }
        (rows, outputs)
    }

    /// Commits the outcome of a call.
    pub(super) fn commit_embeddings(&mut self, call: EmbedCall, outcome: Embedded) {
        let EmbedCall {
            rows,
            inputs,
            mut jobs,
            ..
        } = call;
        match outcome {
            Embedded::Done(vectors) => {
                self.embeddings.n_inputs = None;
                let mut rest = rows.as_slice();
                for input in &inputs {
                    let (own, others) = rest.split_at(input.part.len());
                    rest = others;
                    // The slots of finished inputs are empty again, as is a slot that had to be given up
                    // meanwhile.
                    if !input.is_last() && self.embeddings.begun_in() == Some(input.slot) {
                        self.ledger.record(own);
                    }
                }
                self.take_vectors(&inputs, vectors, &mut jobs);
            }
            Embedded::NoSpace => self.make_space_for(&inputs, &mut jobs),
            Embedded::Interrupted => self.embeddings.was_broken_off = true,
            Embedded::Failed(message) => {
                for input in &inputs {
                    let failure = failure(FailureKind::Internal, &message);
                    self.end(&mut jobs, input.job, failure);
                    if !input.is_last() {
                        self.ledger.reset(input.slot);
                    }
                }
            }
        }
        for job in jobs.into_iter().flatten() {
            self.go_on(job);
        }
    }

    fn take_vectors(
        &mut self,
        inputs: &[Input],
        vectors: Vec<Option<Vec<f32>>>,
        jobs: &mut [Option<EmbedJob>],
    ) {
        let last = inputs.iter().filter(|input| input.is_last());
        for (input, vector) in last.zip(vectors) {
            let Some(job) = &mut jobs[input.job] else {
                continue;
            };
            self.embeddings
                .begun
                .take_if(|begun| begun.slot == input.slot);
            let taken = match vector {
                Some(vector) => job.take(input.n_tokens, vector),
                None => Err(failure(
                    FailureKind::Internal,
                    "the model gave no embedding",
                )),
            };
            if let Err(failure) = taken {
                self.end(jobs, input.job, failure);
            }
        }
    }

    /// The pool is full: evicts an idle slot, else tries fewer inputs, else waits for running sequences.
    fn make_space_for(&mut self, inputs: &[Input], jobs: &mut [Option<EmbedJob>]) {
        if self.evict_idle() {
            return;
        }
        if inputs.len() > 1 {
            self.embeddings.n_inputs = Some(inputs.len() / 2);
        } else if !self.is_running()
            && let Some(input) = inputs.first()
        {
            let message = "the input does not fit into the model's cache";
            self.end(jobs, input.job, failure(FailureKind::Internal, message));
        }
    }

    fn end(&mut self, jobs: &mut [Option<EmbedJob>], index: usize, failure: Failure) {
        if let Some(job) = jobs[index].take() {
            self.embeddings.begun.take_if(|begun| begun.id == job.id);
            self.fail(job.id, failure);
        }
    }

    /// Answers a finished job; puts any other back into the queue.
    fn go_on(&mut self, job: EmbedJob) {
        if job.is_done() {
            let result = EmbedResult {
                vectors: job.vectors,
                n_tokens: to_u32(job.n_tokens),
            };
            self.events.push(Event::Embedded { id: job.id, result });
        } else {
            self.embeddings.push(job);
        }
    }
}

/// Scales a vector to length 1; a zero vector stays as it is.
fn normalize(vector: &mut [f32]) {
    let square: f64 = vector.iter().map(|&value| f64::from(value).powi(2)).sum();
    #[expect(clippy::cast_possible_truncation, reason = "values are f32 in the end")]
    let length = square.sqrt() as f32;
    if length > 0.0 {
        for value in vector {
            *value /= length;
        }
    }
}
