//! Embeddings: as many inputs in one decode call as fit, jobs of several clients in turn.
//!
//! They use slots that nobody runs in and have a decode call of their own beside that of the
//! generating sequences; it is short while somebody reads along. A model that generates evaluates a
//! long input over several steps then: what is done of it stays in its slot. A model for embeddings
//! has to see an input at once.

use std::ops::Range;

use super::backend::{Backend, Decoded, Row};
use super::core::Engine;
use super::slot::seq;
use super::{prompt, to_u32};
use crate::protocol::{
    EmbedParams, EmbedResult, Event, Failure, FailureKind, Priority, RequestId, Token,
};

/// An embedding request at work.
#[derive(Debug)]
pub(super) struct EmbedJob {
    pub(super) id: RequestId,
    /// The inputs' texts are gone; they are in `inputs`.
    params: EmbedParams,
    /// Each fits into a batch.
    inputs: Vec<Vec<Token>>,
    /// Finished ones; the next input is the one behind them.
    vectors: Vec<Vec<f32>>,
    n_tokens: usize,
}

/// The input of which a part is evaluated: one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    /// Of the request whose next input it is.
    pub(super) id: RequestId,
    /// Nobody else's until the input is done, but when the pool is full.
    pub(super) slot: usize,
}

/// An input in a decode call.
struct Input {
    /// Index of its job among those of the call.
    job: usize,
    slot: usize,
    tokens: Vec<Token>,
    /// What this call evaluates of it.
    part: Range<usize>,
}

impl Input {
    /// Whether the call evaluates its last token, which has the embedding.
    fn is_last(&self) -> bool {
        self.part.end == self.tokens.len()
    }
}

impl EmbedJob {
    pub(super) fn new(id: RequestId, params: EmbedParams, inputs: Vec<Vec<Token>>) -> Self {
        Self {
            id,
            params,
            inputs,
            vectors: Vec::new(),
            n_tokens: 0,
        }
    }

    pub(super) fn client(&self) -> &str {
        &self.params.client
    }

    pub(super) fn priority(&self) -> Priority {
        self.params.priority
    }

    fn is_done(&self) -> bool {
        self.vectors.len() >= self.inputs.len()
    }

    /// The `next`-th input behind the finished ones.
    fn next(&self, next: usize) -> Option<&Vec<Token>> {
        self.inputs.get(self.vectors.len() + next)
    }

    /// Takes the next input's vector.
    fn take(&mut self, n_tokens: usize, mut vector: Vec<f32>) -> Result<(), Failure> {
        if vector.iter().any(|value| !value.is_finite()) {
            return Err(prompt::failure(
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

impl<B: Backend> Engine<B> {
    /// Evaluates one batch of inputs, if some wait; returns its rows.
    pub(super) fn embed_step(&mut self) -> usize {
        if self.embeds.is_empty() {
            return 0;
        }
        let (mut jobs, inputs) = self.next_inputs();
        let (n_done, n_rows) = self.decode_inputs(&inputs, &mut jobs);
        let mut n_before = 0;
        for input in &inputs[..n_done] {
            n_before += input.part.len();
            let Some(job) = &mut jobs[input.job] else {
                continue;
            };
            if !input.is_last() {
                let (id, slot) = (job.id, input.slot);
                self.begun = Some(Begun { id, slot });
                continue;
            }
            self.begun.take_if(|begun| begun.id == job.id);
            let vector = self.backend.embedding(seq(input.slot), n_before - 1);
            let taken = match vector {
                Some(vector) => job.take(input.tokens.len(), vector),
                None => Err(prompt::failure(
                    FailureKind::Internal,
                    "the model gave no embedding",
                )),
            };
            if let Err(failure) = taken {
                self.end(&mut jobs, input.job, failure);
            }
        }
        for (index, input) in inputs.iter().enumerate() {
            if index >= n_done || input.is_last() {
                self.slots.clear(&mut self.backend, input.slot);
            }
        }
        for job in jobs.into_iter().flatten() {
            self.go_on(job);
        }
        n_rows
    }

    /// Fills a batch from the jobs whose turn it is.
    fn next_inputs(&mut self) -> (Vec<Option<EmbedJob>>, Vec<Input>) {
        let mut idle = self.idle().into_iter();
        let short = self.budget.n_prefill(self.is_somebody_reading());
        let mut room = self.largest_batch().min(short);
        let mut jobs = Vec::new();
        let mut inputs: Vec<Input> = Vec::new();
        'jobs: while room > 0 {
            let Some(job) = self.embeds.pop() else { break };
            let index = jobs.len();
            jobs.push(Some(job));
            let mut next = 0;
            while let Some((job, tokens)) = jobs[index]
                .as_ref()
                .and_then(|job| Some((job, job.next(next)?)))
            {
                let begun = self.begun.filter(|begun| begun.id == job.id && next == 0);
                let n_held = begun.map_or(0, |begun| self.slots.len(begun.slot));
                let n_left = tokens.len() - n_held;
                let n_rows = if n_left <= room {
                    n_left
                } else if !inputs.is_empty() {
                    break 'jobs;
                } else if self.is_embedding {
                    n_left
                } else if begun == self.begun {
                    room
                } else {
                    // Until the one that is begun is done.
                    continue 'jobs;
                };
                let slot = begun.map(|begun| begun.slot);
                let Some(slot) = slot.or_else(|| idle.next()) else {
                    break 'jobs;
                };
                room = room.saturating_sub(n_rows);
                next += 1;
                inputs.push(Input {
                    job: index,
                    slot,
                    tokens: tokens.clone(),
                    part: n_held..n_held + n_rows,
                });
            }
        }
        (jobs, inputs)
    }

    /// Decodes as many of these inputs as the pool takes; returns how many, and their rows.
    fn decode_inputs(&mut self, inputs: &[Input], jobs: &mut [Option<EmbedJob>]) -> (usize, usize) {
        for input in inputs {
            if input.part.start == 0 {
                self.spill(input.slot, 0);
                self.slots.clear(&mut self.backend, input.slot);
            }
            self.slots.touch(input.slot);
        }
        let mut n_inputs = inputs.len();
        while n_inputs > 0 {
            let rows = self.input_rows(&inputs[..n_inputs]);
            match self.backend.decode_embeddings(&rows) {
                Ok(Decoded::Done) => {
                    self.slots.record(&rows);
                    return (n_inputs, rows.len());
                }
                Ok(Decoded::NoSpace) if self.forget_idle() => {
                    let is_there = |input: &Input| self.slots.len(input.slot) == input.part.start;
                    if !inputs[..n_inputs].iter().all(is_there) {
                        // The first part of one of them had to go: the next step begins it anew.
                        return (0, 0);
                    }
                }
                Ok(Decoded::NoSpace) if n_inputs > 1 => n_inputs /= 2,
                // Those that run will end, and then there is room.
                Ok(Decoded::NoSpace) if self.is_running() => return (0, 0),
                Ok(Decoded::NoSpace) => {
                    let message = "the input does not fit into the model's cache";
                    let failure = prompt::failure(FailureKind::Internal, message);
                    self.end(jobs, inputs[0].job, failure);
                    return (0, 0);
                }
                Err(error) => {
                    for input in &inputs[..n_inputs] {
                        self.end(jobs, input.job, prompt::broken(&error));
                    }
                    return (0, 0);
                }
            }
        }
        (0, 0)
    }

    /// The slots in which nobody runs, those first that are missed least.
    fn idle(&self) -> Vec<usize> {
        let slots = 0..self.running.len();
        let mut idle: Vec<usize> = slots.filter(|&slot| self.is_idle(slot)).collect();
        idle.sort_by_key(|&slot| (self.slots.len(slot) > 0, self.slots.last_used(slot)));
        idle
    }

    fn input_rows(&self, inputs: &[Input]) -> Vec<Row> {
        let mut rows = Vec::new();
        for input in inputs {
            for position in input.part.clone() {
                // Pooling needs every row; without it the last one stands for all.
                let output = self.is_embedding || position + 1 == input.tokens.len();
                rows.push(Row {
                    token: input.tokens[position],
                    position: to_u32(position),
                    seq: seq(input.slot),
                    output,
                });
            }
        }
        rows
    }

    /// Most rows of a batch of inputs.
    pub(super) fn largest_batch(&self) -> usize {
        let n_pool = self.backend.info().n_ctx_pool.max(1) as usize;
        self.backend.n_batch().clamp(1, n_pool)
    }

    fn end(&mut self, jobs: &mut [Option<EmbedJob>], index: usize, failure: Failure) {
        if let Some(job) = jobs[index].take() {
            self.begun.take_if(|begun| begun.id == job.id);
            self.fail(job.id, failure);
        }
    }

    /// Answers a job that is done; another one gets its next turn.
    fn go_on(&mut self, job: EmbedJob) {
        if job.is_done() {
            let result = EmbedResult {
                vectors: job.vectors,
                n_tokens: to_u32(job.n_tokens),
            };
            self.events.push(Event::Embedded { id: job.id, result });
        } else {
            let (priority, client) = (job.params.priority, job.params.client.clone());
            self.embeds.push(priority, &client, job);
        }
    }
}

/// Scales a vector to length 1; one of zeros stays.
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
