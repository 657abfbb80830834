//! Commits the outcome of a step: cells, tokens, events.

use std::time::Instant;

use super::embedding::Embedded;
use super::plan::{DecodeCall, MediaCall, Segment, StepPlan};
use super::state::{Retry, State};
use crate::engine::failure::failure;
use crate::engine::media::Media;
use crate::engine::output::Piece;
use crate::engine::units::to_u32;
use crate::protocol::{
    Event, Failure, FailureKind, FinishReason, PromptToken, RequestId, StepStats, Token,
    TokenLogprob, Update,
};

/// The outcome of a plan.
#[derive(Debug, Default)]
pub(in crate::engine) struct Outcome {
    /// Sequences that the backend had to empty, so that their rows were skipped.
    pub(in crate::engine) lost: Vec<usize>,
    /// Prefixes that were saved to the host cache, and that were restored from it.
    pub(in crate::engine) n_saved: usize,
    pub(in crate::engine) n_loaded: usize,
    pub(in crate::engine) embed: Option<Embedded>,
    pub(in crate::engine) media: Option<Called<()>>,
    pub(in crate::engine) decode: Option<Decoded>,
    /// How far each slot can be rolled back now; empty if there is no limit.
    pub(in crate::engine) floors: Vec<u32>,
}

/// The outcome of the decode call.
#[derive(Debug)]
pub(in crate::engine) struct Decoded {
    pub(in crate::engine) called: Called<Vec<Sampled>>,
    /// The log-probabilities of prompt tokens, by slot.
    pub(in crate::engine) prompts: Vec<(usize, Vec<PromptToken>)>,
    /// Rows of the call, drafts included.
    pub(in crate::engine) n_rows: usize,
    pub(in crate::engine) has_drafts: bool,
    /// How long it took to decode and sample, in milliseconds, without making the drafts.
    pub(in crate::engine) ms: f64,
}

/// The outcome of a call.
#[derive(Debug)]
pub(in crate::engine) enum Called<T> {
    Done(T),
    /// The pool has no room; nothing was changed.
    NoSpace,
    /// The state of the cells after the call is unknown.
    Failed(String),
}

/// What was sampled for one sequence.
#[derive(Debug, Default)]
pub(in crate::engine) struct Sampled {
    pub(in crate::engine) slot: usize,
    /// At least one, unless sampling failed. The first `n_confirmed` are accepted drafts, whose cells stay.
    pub(in crate::engine) tokens: Vec<SampledToken>,
    pub(in crate::engine) n_drafted: usize,
    /// Accepted drafts.
    pub(in crate::engine) n_confirmed: usize,
    /// Why no more could be sampled.
    pub(in crate::engine) failed: Option<String>,
    /// The cells of wrong drafts could not be dropped separately, so the sequence is empty.
    pub(in crate::engine) is_lost: bool,
}

/// A sampled token and its properties.
#[derive(Debug)]
pub(in crate::engine) struct SampledToken {
    pub(in crate::engine) token: Token,
    /// It ends the generation.
    pub(in crate::engine) is_end: bool,
    pub(in crate::engine) bytes: Vec<u8>,
    pub(in crate::engine) logprob: Option<TokenLogprob>,
}

impl<S> State<S> {
    /// Commits the outcome of a plan that was made at `started` and executed until `now`.
    pub(in crate::engine) fn commit(
        &mut self,
        plan: StepPlan,
        outcome: Outcome,
        started: Instant,
        now: Instant,
    ) {
        self.ledger.set_floors(&outcome.floors);
        for &slot in &outcome.lost {
            self.lose(slot);
        }
        self.counters.n_saved += outcome.n_saved;
        self.counters.n_loaded += outcome.n_loaded;
        let mut stats = StepStats::default();
        if let Some((call, embedded)) = plan.embed.zip(outcome.embed) {
            if matches!(embedded, Embedded::Done(_)) {
                stats.n_prefill += to_u32(call.rows.len());
            }
            self.commit_embeddings(call, embedded);
        }
        if let Some((call, called)) = plan.media.zip(outcome.media) {
            stats.n_prefill += to_u32(self.commit_media(&call, called, now));
        }
        stats.n_rows = stats.n_prefill;
        let mut failed = Vec::new();
        match (plan.decode, outcome.decode) {
            (Some(call), Some(decoded)) => {
                if matches!(decoded.called, Called::Done(_)) {
                    stats.n_rows += to_u32(decoded.n_rows);
                    stats.n_prefill += to_u32(call.n_prefill);
                    stats.n_decode = to_u32(decoded.n_rows.saturating_sub(call.n_prefill));
                    self.learn(&call, &decoded);
                }
                failed = self.commit_decode(&call, decoded, &outcome.lost, now);
            }
            // An interrupted call counts, too; otherwise the same call might be interrupted again and again.
            (Some(_), None) => self.n_calls = self.n_calls.wrapping_add(1),
            (None, _) => {}
        }
        self.report(stats, started, now);
        // After the report, which has such a sequence's last output.
        for (id, failure) in failed {
            self.fail(id, failure);
        }
    }

    /// Notes that a slot is empty, whatever was planned with it.
    fn lose(&mut self, slot: usize) {
        self.ledger.lose(slot);
        if let Some(sequence) = self.running[slot].as_mut() {
            sequence.clock.forget_cached();
        }
    }

    /// Learns from the duration of a call.
    fn learn(&mut self, call: &DecodeCall, decoded: &Decoded) {
        if call.n_prefill == 0 {
            self.step_times.observe(decoded.n_rows, decoded.ms);
        }
        if !decoded.has_drafts {
            self.budget.observe(call.n_prefill, decoded.ms);
        }
    }

    /// Returns the rows that were evaluated.
    fn commit_media(&mut self, call: &MediaCall, called: Called<()>, now: Instant) -> usize {
        let Media { tokens, .. } = call.media.as_ref();
        match called {
            Called::Done(()) => {
                self.retry.is_full = false;
                self.ledger.record_media(call.slot, tokens);
                self.park(call.slot);
                return tokens.len();
            }
            Called::NoSpace => self.make_space(0, now),
            Called::Failed(message) => self.break_off(call.slot, &message),
        }
        0
    }

    /// Returns the sequences that failed while their tokens were sampled.
    fn commit_decode(
        &mut self,
        call: &DecodeCall,
        decoded: Decoded,
        lost: &[usize],
        now: Instant,
    ) -> Vec<(RequestId, Failure)> {
        let mut failed = Vec::new();
        match decoded.called {
            Called::Done(sampled) => {
                self.retry = Retry::default();
                self.n_calls = self.n_calls.wrapping_add(1);
                self.record(call, lost);
                for (slot, tokens) in decoded.prompts {
                    self.tell_prompt(slot, tokens);
                }
                for segment in &call.segments {
                    self.end_without_output(*segment, now);
                }
                for sampled in sampled {
                    failed.extend(self.take_sampled(sampled, now));
                }
            }
            // Drafts must not displace anything.
            Called::NoSpace if decoded.has_drafts => self.retry.without_drafts = true,
            Called::NoSpace => self.make_space(call.n_prefill, now),
            Called::Failed(message) => {
                for segment in &call.segments {
                    self.break_off(segment.slot, &message);
                }
            }
        }
        failed
    }

    /// Ends a sequence whose call has failed.
    fn break_off(&mut self, slot: usize, message: &str) {
        if let Some(sequence) = self.release(slot) {
            self.fail(sequence.id, failure(FailureKind::Internal, message));
        }
        self.ledger.reset(slot);
    }

    fn record(&mut self, call: &DecodeCall, lost: &[usize]) {
        let mut begin = 0;
        for segment in &call.segments {
            let end = begin + segment.n_rows;
            if !lost.contains(&segment.slot) {
                self.ledger.record(&call.rows[begin..end]);
                self.park(segment.slot);
            }
            begin = end;
        }
    }

    /// A request for no tokens ends after its prompt.
    fn end_without_output(&mut self, segment: Segment, now: Instant) {
        let n_held = self.ledger.len(segment.slot);
        let is_done = self.running[segment.slot].as_ref().is_some_and(|sequence| {
            sequence.params.n_predict == Some(0) && n_held == sequence.tokens.len()
        });
        if is_done {
            self.finish(segment.slot, FinishReason::Length, Piece::default(), now);
        }
    }

    /// Takes the tokens that were sampled for a sequence, up to its end.
    fn take_sampled(&mut self, sampled: Sampled, now: Instant) -> Option<(RequestId, Failure)> {
        let slot = sampled.slot;
        let n_confirmed = sampled.n_confirmed.min(sampled.tokens.len());
        self.counters.n_drafted += sampled.n_drafted;
        if let Some(sequence) = self.running[slot].as_mut() {
            sequence.n_drafted += to_u32(sampled.n_drafted);
        }
        if sampled.is_lost {
            self.ledger.lose(slot);
        } else {
            let confirmed = sampled.tokens[..n_confirmed].iter();
            self.ledger
                .extend(slot, confirmed.map(|sampled| sampled.token));
        }
        for (index, token) in sampled.tokens.into_iter().enumerate() {
            let sequence = self.running[slot].as_mut()?;
            if index < n_confirmed {
                sequence.n_accepted += 1;
                self.counters.n_accepted += 1;
            }
            self.take(slot, token, now);
        }
        let message = sampled.failed?;
        let sequence = self.release(slot)?;
        // The constraint comes from the client; nothing else can fail here.
        let kind = match sequence.params.constraint {
            Some(_) => FailureKind::Invalid,
            None => FailureKind::Internal,
        };
        Some((sequence.id, failure(kind, &message)))
    }

    /// Takes a sequence's next token.
    fn take(&mut self, slot: usize, sampled: SampledToken, now: Instant) {
        let Some(sequence) = self.running[slot].as_mut() else {
            return;
        };
        sequence.clock.prompt_done.get_or_insert(now);
        sequence.n_generated += 1;
        self.counters.n_generated += 1;
        let may_stop = sequence.n_generated > sequence.params.sampling.min_tokens;
        let piece = sequence
            .output
            .push(&sampled.bytes, sampled.logprob, may_stop);
        if sampled.is_end || piece.stop.is_some() {
            self.finish(slot, FinishReason::Stop, piece, now);
            return;
        }
        sequence.tokens.push(sampled.token);
        let is_full = sequence.tokens.len() >= sequence.n_ctx;
        if sequence.n_left() == 0 || is_full && !self.shift_context(slot) {
            self.finish(slot, FinishReason::Length, piece, now);
        } else {
            self.update(slot, piece);
        }
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
                prompt: Vec::new(),
                logprobs: piece.logprobs,
                finished: None,
            });
        }
    }

    fn tell_prompt(&mut self, slot: usize, tokens: Vec<PromptToken>) {
        let Some(sequence) = self.running[slot].as_mut() else {
            return;
        };
        sequence.n_prompt_told += tokens.len();
        self.updates.push(Update {
            id: sequence.id,
            text: String::new(),
            n_tokens: sequence.n_untold(),
            prompt: tokens,
            logprobs: Vec::new(),
            finished: None,
        });
    }

    /// Ends a sequence, for `reason` unless its last piece found a stop string. Its cells stay in the cache for
    /// later requests.
    pub(super) fn finish(&mut self, slot: usize, reason: FinishReason, piece: Piece, now: Instant) {
        let Some(mut sequence) = self.release(slot) else {
            return;
        };
        let Piece {
            mut text,
            mut logprobs,
            stop,
        } = piece;
        let reason = match stop {
            Some(stop) => FinishReason::StopSequence(stop),
            None => {
                let rest = sequence.output.finish();
                text.push_str(&rest.text);
                logprobs.extend(rest.logprobs);
                reason
            }
        };
        self.updates.push(Update {
            id: sequence.id,
            text,
            n_tokens: sequence.n_untold(),
            prompt: Vec::new(),
            logprobs,
            finished: Some(sequence.finished(reason, now)),
        });
    }

    fn report(&mut self, rows: StepStats, started: Instant, now: Instant) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a step does not last for years"
        )]
        let step_ms = super::sequence::ms(started, now) as f32;
        let counters = std::mem::take(&mut self.counters);
        // Running slots come first, so that cells shared with idle slots count as theirs.
        let (mut slots, idle): (Vec<usize>, Vec<usize>) =
            (0..self.running.len()).partition(|&slot| self.running[slot].is_some());
        let n_cells = self.ledger.n_cells(&slots);
        slots.extend(idle);
        let n_kept = self.ledger.n_cells(&slots) - n_cells;
        let stats = StepStats {
            n_drafted: to_u32(counters.n_drafted),
            n_accepted: to_u32(counters.n_accepted),
            n_cached: to_u32(counters.n_cached),
            n_generated: to_u32(counters.n_generated),
            n_evicted: to_u32(counters.n_evicted),
            n_parked: to_u32(counters.n_parked),
            n_preempted: to_u32(counters.n_preempted),
            n_spilled: to_u32(counters.n_saved),
            n_restored: to_u32(counters.n_loaded),
            n_running: to_u32(self.running.iter().flatten().count()),
            n_waiting: to_u32(self.waiting.len() + self.embeddings.len()),
            n_cells: to_u32(n_cells),
            n_kept: to_u32(n_kept),
            step_ms,
            ..rows
        };
        let updates = std::mem::take(&mut self.updates);
        self.events.push(Event::Step { updates, stats });
    }
}
