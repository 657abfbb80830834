//! One step: admit, plan, decode, sample, emit.

use std::time::Instant;

use super::backend::{Backend, Decoded, Pick, Row};
use super::batcher::{self, Pending, Share};
use super::core::Engine;
use super::logprobs;
use super::output::Piece;
use super::sequence::ms;
use super::slot::seq;
use super::{prompt, to_u32};
use crate::protocol::{Event, FinishReason, Priority, StepStats, Token, TokenLogprob, Update};

/// The rows of one decode call.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    /// Slots whose last pending token is in it, with that token's row.
    pub(super) outputs: Vec<(usize, usize)>,
    /// The slots in it.
    pub(super) slots: Vec<usize>,
    /// Rows of prompts.
    pub(super) n_prefill: usize,
}

impl<B: Backend> Engine<B> {
    /// Computes once.
    pub(super) fn step(&mut self) {
        let started = Instant::now();
        // Before admission: a slot that became free serves the inputs that wait, for this step.
        let n_embedded = self.embed_step();
        self.admit(started);
        self.join_leaders();
        let decoding = Instant::now();
        let batch = self.decode();
        if let Some(batch) = &batch {
            self.park(&batch.slots);
            self.sample(batch);
            let now = Instant::now();
            self.budget.observe(batch.n_prefill, ms(decoding, now));
        }
        self.report(&batch.unwrap_or_default(), n_embedded, started);
    }

    /// Plans and decodes until something was decoded or nothing is left to run.
    fn decode(&mut self) -> Option<Batch> {
        let mut n_prefill = self.budget.n_prefill(self.is_somebody_reading());
        loop {
            let plan = batcher::plan(&self.pending(), self.backend.n_batch().max(1), n_prefill);
            if plan.is_empty() {
                return None;
            }
            let batch = self.batch(&plan);
            match self.backend.decode(&batch.rows) {
                Ok(Decoded::Done) => {
                    self.slots.record(&batch.rows);
                    return Some(batch);
                }
                Ok(Decoded::NoSpace) => n_prefill = self.make_space(&batch, n_prefill),
                Err(error) => {
                    for &slot in &batch.slots {
                        if let Some(sequence) = self.release(slot) {
                            self.fail(sequence.id, prompt::broken(&error));
                        }
                        // Nobody knows what a failed call has left behind.
                        self.slots.clear(&mut self.backend, slot);
                    }
                }
            }
        }
    }

    /// Whether an interactive sequence is generating.
    pub(super) fn is_somebody_reading(&self) -> bool {
        let mut running = self.running.iter().enumerate();
        running.any(|(slot, sequence)| {
            sequence.as_ref().is_some_and(|sequence| {
                sequence.priority() == Priority::Interactive
                    && sequence.is_decoding(self.slots.len(slot))
            })
        })
    }

    fn pending(&self) -> Vec<Pending> {
        let running = self.running.iter().enumerate();
        let pending = running.filter_map(|(slot, sequence)| {
            let sequence = sequence.as_ref().filter(|s| s.follows.is_none())?;
            let n_held = self.slots.len(slot);
            Some(Pending {
                slot,
                n_tokens: sequence.n_next(n_held),
                is_decoding: sequence.is_decoding(n_held),
                priority: sequence.priority(),
                order: sequence.order,
            })
        });
        pending.filter(|pending| pending.n_tokens > 0).collect()
    }

    fn batch(&self, plan: &[Share]) -> Batch {
        let mut batch = Batch::default();
        for share in plan {
            let Some(sequence) = self.running[share.slot].as_ref() else {
                continue;
            };
            let n_held = self.slots.len(share.slot);
            if !sequence.is_decoding(n_held) {
                batch.n_prefill += share.n_rows;
            }
            let tokens = sequence.tokens.iter().enumerate();
            for (position, &token) in tokens.skip(n_held).take(share.n_rows) {
                let output = position + 1 == sequence.tokens.len();
                if output {
                    batch.outputs.push((share.slot, batch.rows.len()));
                }
                batch.rows.push(Row {
                    token,
                    position: to_u32(position),
                    seq: seq(share.slot),
                    output,
                });
            }
            batch.slots.push(share.slot);
        }
        batch
    }

    /// Picks the next token of every sequence that is evaluated to its end.
    fn sample(&mut self, batch: &Batch) {
        for &(slot, _) in &batch.outputs {
            let sequence = self.running[slot].as_ref();
            if sequence.is_some_and(|sequence| sequence.params.n_predict == Some(0)) {
                self.finish(slot, FinishReason::Length, Piece::default());
            }
        }
        let row_of = |slot: usize| batch.outputs.iter().find(|(of, _)| *of == slot);
        let mut picks = Vec::with_capacity(batch.outputs.len());
        let mut picked = Vec::with_capacity(batch.outputs.len());
        for (slot, sequence) in self.running.iter_mut().enumerate() {
            if let (Some(sequence), Some(&(_, row))) = (sequence, row_of(slot)) {
                let sampler = &mut sequence.sampler;
                picks.push(Pick { row, sampler });
                picked.push((slot, row));
            }
        }
        if picks.is_empty() {
            return;
        }
        let tokens = self.backend.sample(&mut picks);
        for ((slot, row), token) in picked.into_iter().zip(tokens) {
            match token {
                Ok(token) => self.take(slot, row, token),
                Err(error) => {
                    if let Some(sequence) = self.release(slot) {
                        self.fail(sequence.id, prompt::broken(&error));
                    }
                }
            }
        }
    }

    /// Takes a sequence's next token.
    fn take(&mut self, slot: usize, row: usize, token: Token) {
        let is_end = self.backend.is_end(token);
        let logprob = if is_end {
            None
        } else {
            self.logprob(slot, row, token)
        };
        let Some(sequence) = self.running[slot].as_mut() else {
            return;
        };
        sequence.clock.prompt_done.get_or_insert_with(Instant::now);
        sequence.n_generated += 1;
        let mut bytes = Vec::new();
        let special = sequence.preserved.contains(&token);
        self.backend.append_piece(token, special, &mut bytes);
        let piece = sequence.output.push(&bytes, logprob);
        if is_end || piece.stopped {
            self.finish(slot, FinishReason::Stop, piece);
            return;
        }
        sequence.tokens.push(token);
        let is_full = sequence.tokens.len() >= sequence.n_ctx;
        if sequence.n_left() == 0 || is_full && !self.shift_context(slot) {
            self.finish(slot, FinishReason::Length, piece);
        } else {
            self.update(slot, piece);
        }
    }

    fn logprob(&self, slot: usize, row: usize, token: Token) -> Option<TokenLogprob> {
        let n_top = self.running[slot].as_ref()?.params.logprobs?;
        let logits = self.backend.logits(row)?;
        Some(logprobs::entry(&self.backend, logits, token, n_top))
    }

    fn update(&mut self, slot: usize, piece: Piece) {
        let Some(sequence) = self.running[slot].as_ref() else {
            return;
        };
        if !piece.text.is_empty() || !piece.logprobs.is_empty() {
            self.updates.push(Update {
                id: sequence.id,
                text: piece.text,
                logprobs: piece.logprobs,
                finished: None,
            });
        }
    }

    /// Ends a sequence; what it has in the cache stays for the next one.
    pub(super) fn finish(&mut self, slot: usize, reason: FinishReason, piece: Piece) {
        let Some(mut sequence) = self.release(slot) else {
            return;
        };
        let Piece {
            mut text,
            mut logprobs,
            stopped,
        } = piece;
        if !stopped {
            let rest = sequence.output.finish();
            text.push_str(&rest.text);
            logprobs.extend(rest.logprobs);
        }
        self.updates.push(Update {
            id: sequence.id,
            text,
            logprobs,
            finished: Some(sequence.finished(reason, Instant::now())),
        });
    }

    fn report(&mut self, batch: &Batch, n_embedded: usize, started: Instant) {
        let n_rows = batch.rows.len();
        let n_running = self.running.iter().flatten().count();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a step does not last for years"
        )]
        let step_ms = ms(started, Instant::now()) as f32;
        let stats = StepStats {
            n_rows: to_u32(n_rows + n_embedded),
            n_prefill: to_u32(batch.n_prefill + n_embedded),
            n_decode: to_u32(n_rows - batch.n_prefill),
            n_running: to_u32(n_running),
            n_waiting: to_u32(self.waiting.len() + self.embeds.len()),
            step_ms,
        };
        let updates = std::mem::take(&mut self.updates);
        self.events.push(Event::Step { updates, stats });
    }
}
