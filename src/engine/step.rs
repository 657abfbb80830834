//! One step: admit, plan, decode, sample, emit.

use std::time::Instant;

use super::backend::{Backend, Decoded, Pick, Row};
use super::batcher::{self, Limits, Pending, Share};
use super::core::Engine;
use super::draft::Draft;
use super::logprobs;
use super::output::Piece;
use super::sequence::ms;
use super::slot::seq;
use super::{prompt, to_u32, turns};
use crate::protocol::{
    Event, Failure, FinishReason, Priority, RequestId, StepStats, Token, TokenLogprob, Update,
};

/// The rows of one decode call.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    /// Slots whose last pending token is in it, with that token's row; its guesses are the next.
    pub(super) outputs: Vec<(usize, usize)>,
    pub(super) drafts: Vec<Draft>,
    /// The slots in it.
    pub(super) slots: Vec<usize>,
    /// Rows of prompts.
    pub(super) n_prefill: usize,
    /// How long it took to make the guesses.
    guess_ms: f64,
    /// Sequences that could not go on, to be told behind what they have said.
    failed: Vec<(RequestId, Failure)>,
}

impl<B: Backend> Engine<B> {
    /// Computes once.
    pub(super) fn step(&mut self) {
        let started = Instant::now();
        // Before admission: a slot that became free serves the inputs that wait, for this step.
        let n_embedded = self.embed_step();
        self.admit(started);
        self.join_leaders();
        let n_seen = self.see();
        let decoding = Instant::now();
        let mut batch = self.decode(n_embedded);
        if let Some(batch) = &mut batch {
            self.park(&batch.slots);
            self.sample(batch);
            let guess_ms = batch.guess_ms;
            self.learn(batch, ms(decoding, Instant::now()) - guess_ms);
        }
        self.report(batch.unwrap_or_default(), n_embedded + n_seen, started);
    }

    /// Learns from how long a batch took, without its guesses.
    fn learn(&mut self, batch: &Batch, step_ms: f64) {
        if batch.n_prefill == 0 {
            self.step_times.observe(batch.rows.len(), step_ms);
        }
        if batch.drafts.is_empty() {
            self.budget.observe(batch.n_prefill, step_ms);
        }
    }

    /// Plans and decodes until something was decoded or nothing is left to run. The prompts share the
    /// step's time with rows of embeddings that it has computed.
    fn decode(&mut self, n_embedded: usize) -> Option<Batch> {
        let mut may_draft = true;
        let mut guess_ms = 0.0;
        let mut n_prefill = self.budget.beside(n_embedded, self.is_somebody_reading());
        loop {
            let pending = self.pending();
            let limits = Limits {
                n_batch: self.backend.n_batch().max(1),
                n_prefill,
                n_decode: self.n_decode(pending.len()),
                turn: self.n_calls,
            };
            let plan = batcher::plan(&pending, limits);
            if plan.is_empty() {
                return None;
            }
            let drafts = if may_draft {
                let started = Instant::now();
                let drafts = self.drafts(&plan);
                guess_ms += ms(started, Instant::now());
                drafts
            } else {
                Vec::new()
            };
            let mut batch = self.batch(&plan, drafts);
            batch.guess_ms = guess_ms;
            match self.backend.decode(&batch.rows) {
                Ok(Decoded::Done) => {
                    self.n_calls = self.n_calls.wrapping_add(1);
                    self.slots.record(&batch.rows);
                    return Some(batch);
                }
                // Nobody has to make room for guesses.
                Ok(Decoded::NoSpace) if !batch.drafts.is_empty() => may_draft = false,
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

    /// How many of `n` sequences that all generate go into the next call.
    fn n_decode(&self, n: usize) -> usize {
        if self.backend.info().vram_bytes > 0 {
            // A graphics card reads the weights once for all of them.
            return n;
        }
        turns::rows_per_call(n, &self.step_times)
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

    fn batch(&self, plan: &[Share], drafts: Vec<Draft>) -> Batch {
        let mut batch = Batch::default();
        for share in plan {
            let Some(sequence) = self.running[share.slot].as_ref() else {
                continue;
            };
            let n_held = self.slots.len(share.slot);
            let next = self.slots.next_position(share.slot);
            if !sequence.is_decoding(n_held) {
                batch.n_prefill += share.n_rows;
            }
            let tokens = sequence.tokens.iter().enumerate();
            for ((place, &token), position) in tokens.skip(n_held).take(share.n_rows).zip(next..) {
                let output = place + 1 == sequence.tokens.len();
                if output {
                    batch.outputs.push((share.slot, batch.rows.len()));
                }
                batch.rows.push(Row {
                    token,
                    position,
                    seq: seq(share.slot),
                    output,
                });
            }
            let draft = drafts.iter().find(|draft| draft.slot == share.slot);
            let guesses = draft.into_iter().flat_map(|draft| &draft.tokens);
            let positions = next + to_u32(sequence.tokens.len() - n_held)..;
            batch
                .rows
                .extend(guesses.zip(positions).map(|(&token, position)| Row {
                    token,
                    position,
                    seq: seq(share.slot),
                    output: true,
                }));
            batch.slots.push(share.slot);
        }
        batch.drafts = drafts;
        batch
    }

    /// Picks the next token of every sequence that is evaluated to its end, and further ones as far
    /// as its guesses come true.
    fn sample(&mut self, batch: &mut Batch) {
        for &(slot, _) in &batch.outputs {
            let sequence = self.running[slot].as_ref();
            if sequence.is_some_and(|sequence| sequence.params.n_predict == Some(0)) {
                self.finish(slot, FinishReason::Length, Piece::default());
            }
        }
        self.count_drafts(&batch.drafts);
        let mut outputs = batch.outputs.clone();
        while !outputs.is_empty() {
            let mut next = Vec::new();
            for (slot, row, token) in self.pick(&outputs, &mut batch.failed) {
                let is_guessed = self.confirm(&mut batch.drafts, slot, token);
                self.take(slot, row, token);
                if is_guessed && self.running[slot].is_some() {
                    next.push((slot, row + 1));
                }
            }
            outputs = next;
        }
        self.take_back(&batch.drafts);
    }

    /// Picks a token of each of these slots' rows; a sequence that cannot go on fails.
    fn pick(
        &mut self,
        outputs: &[(usize, usize)],
        failed: &mut Vec<(RequestId, Failure)>,
    ) -> Vec<(usize, usize, Token)> {
        let row_of = |slot: usize| outputs.iter().find(|(of, _)| *of == slot);
        let mut picks = Vec::with_capacity(outputs.len());
        let mut places = Vec::with_capacity(outputs.len());
        for (slot, sequence) in self.running.iter_mut().enumerate() {
            if let (Some(sequence), Some(&(_, row))) = (sequence, row_of(slot)) {
                let sampler = &mut sequence.sampler;
                picks.push(Pick { row, sampler });
                places.push((slot, row));
            }
        }
        if picks.is_empty() {
            return Vec::new();
        }
        let tokens = self.backend.sample(&mut picks);
        let mut picked = Vec::with_capacity(places.len());
        for ((slot, row), token) in places.into_iter().zip(tokens) {
            match token {
                Ok(token) => picked.push((slot, row, token)),
                Err(error) => {
                    if let Some(sequence) = self.release(slot) {
                        // A constraint is the client's; nothing else fails here.
                        let is_constrained = sequence.params.constraint.is_some();
                        let failure = if is_constrained {
                            prompt::refused(&error)
                        } else {
                            prompt::broken(&error)
                        };
                        failed.push((sequence.id, failure));
                    }
                }
            }
        }
        picked
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
        self.tally.n_generated += 1;
        let mut bytes = Vec::new();
        let special = sequence.preserved.contains(&token);
        self.backend.append_piece(token, special, &mut bytes);
        let may_stop = sequence.n_generated > sequence.params.sampling.min_tokens;
        let piece = sequence.output.push(&bytes, logprob, may_stop);
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
        let Some(sequence) = self.running[slot].as_mut() else {
            return;
        };
        if !piece.text.is_empty() || !piece.logprobs.is_empty() {
            self.updates.push(Update {
                id: sequence.id,
                text: piece.text,
                n_tokens: sequence.n_untold(),
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
            n_tokens: sequence.n_untold(),
            logprobs,
            finished: Some(sequence.finished(reason, Instant::now())),
        });
    }

    fn report(&mut self, batch: Batch, n_others: usize, started: Instant) {
        let n_rows = batch.rows.len();
        let drafts = batch.drafts.iter();
        let n_running = self.running.iter().flatten().count();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a step does not last for years"
        )]
        let step_ms = ms(started, Instant::now()) as f32;
        let tally = std::mem::take(&mut self.tally);
        let stats = StepStats {
            n_rows: to_u32(n_rows + n_others),
            n_prefill: to_u32(batch.n_prefill + n_others),
            n_decode: to_u32(n_rows - batch.n_prefill),
            n_drafted: to_u32(drafts.clone().map(|draft| draft.tokens.len()).sum()),
            n_accepted: to_u32(drafts.map(|draft| draft.n_accepted).sum()),
            n_cached: to_u32(tally.n_cached),
            n_generated: to_u32(tally.n_generated),
            n_evicted: to_u32(tally.n_evicted),
            n_parked: to_u32(tally.n_parked),
            n_preempted: to_u32(tally.n_preempted),
            n_spilled: to_u32(tally.n_spilled),
            n_restored: to_u32(tally.n_restored),
            n_running: to_u32(n_running),
            n_waiting: to_u32(self.waiting.len() + self.embeds.len()),
            step_ms,
        };
        let updates = std::mem::take(&mut self.updates);
        self.events.push(Event::Step { updates, stats });
        for (id, failure) in batch.failed {
            self.fail(id, failure);
        }
    }
}
