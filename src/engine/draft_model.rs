//! Drafts by a second, smaller model.
//!
//! It has its own context with the same slots, and lags by the tokens that were generated since it last
//! drafted. So it first evaluates these tokens, for all sequences in one call, and then drafts one token per
//! call, with a row for each sequence. It always drafts the most probable token, and stops where the
//! probability is low. The next time, it sees from the text which drafts were accepted, and drops the cells of
//! the others.
//!
//! All this takes time, which the decision to draft counts ([`Price`]).

use std::time::Instant;

use super::backend::{Backend, BackendError, Decoded, Row};
use super::cache_ops::Changes;
use super::schedule::ledger::{Ledger, seq};
use super::schedule::prefix::{common_prefix, reusable};
use super::schedule::sequence::ms;
use super::schedule::step_times::{StepTimes, ratio};
use super::speculate::{Candidate, Drafter, Price, Record, Terms, Text};
use super::units::to_u32;
use crate::protocol::{DraftParams, LoadParams, RequestId, SpillParams, Token};

/// How often a draft is made and accepted, before anything is known about a sequence.
const FIRST_DRAFT: f64 = 0.6;

/// The least probability of a token at which the model drafts further tokens after it.
const LEAST_SURE: f32 = 0.4;

/// The most tokens that a sequence may lag while it is being drafted.
const NEAR: usize = 64;

/// The most tokens over which the time for evaluating a prompt is spread.
const HORIZON: usize = 256;

/// Weight of the newest time of an evaluated prompt token.
const WEIGHT: f64 = 0.25;

/// Calls for which it does not draft after its cache was full.
const PAUSE: usize = 256;

/// How to load a draft model beside a target model with these parameters.
pub(super) fn load_params(target: &LoadParams, draft: &DraftParams) -> LoadParams {
    LoadParams {
        model: draft.model.clone(),
        projector: None,
        adapters: Vec::new(),
        // Entirely on the target's device: half a draft model on a GPU is of no use.
        n_gpu_layers: if target.n_gpu_layers == 0 { 0 } else { -1 },
        draft: None,
        whole_window: true,
        spill: SpillParams::default(),
        ..target.clone()
    }
}

/// A loaded draft model.
pub(super) struct DraftModel<B: Backend> {
    backend: B,
    slots: Ledger,
    /// The sequence in each slot.
    drafted: Vec<Drafted>,
    /// Most drafts of one sequence.
    n_most: usize,
    /// The size of the vocabulary that both models share.
    n_vocab: u32,
    /// The context that it was trained for, in tokens.
    n_ctx: usize,
    /// How long its calls without prompts take.
    times: StepTimes,
    /// How long it takes to evaluate a token of a prompt.
    read_ms: f64,
    /// Calls for which it still does not draft.
    n_pause: usize,
}

/// What is known about a sequence.
#[derive(Debug, Clone)]
struct Drafted {
    id: RequestId,
    record: Record,
    /// The last drafts, and how many tokens the text had then.
    at: usize,
    drafts: Vec<Token>,
}

/// A sequence that is being drafted.
struct Live {
    /// Its index among the texts.
    text: usize,
    slot: usize,
    n_wanted: usize,
    /// The row whose logits give the next token.
    row: usize,
}

impl<B: Backend> DraftModel<B> {
    /// A draft model for `target`, with the same slots; an error if it cannot draft for that.
    pub(super) fn new(backend: B, target: &B, n_most: usize) -> Result<Self, BackendError> {
        target.same_vocabulary(&backend)?;
        if backend.is_windowed() {
            let reason = "its memory cannot go back to before a wrong draft";
            return Err(BackendError(reason.to_owned()));
        }
        let n_slots = target.info().n_slots as usize;
        let nobody = Drafted {
            id: 0,
            record: Record::new(FIRST_DRAFT),
            at: 0,
            drafts: Vec::new(),
        };
        Ok(Self {
            n_vocab: backend.info().n_vocab.min(target.info().n_vocab),
            n_ctx: match backend.info().n_ctx_train {
                0 => usize::MAX,
                trained => trained as usize,
            },
            backend,
            slots: Ledger::new(n_slots),
            drafted: vec![nobody; n_slots],
            n_most,
            times: StepTimes::default(),
            read_ms: 0.0,
            n_pause: 0,
        })
    }

    /// For tests: sets the measured times of its calls.
    #[cfg(test)]
    pub(super) fn set_times(&mut self, ms: f64) {
        self.times = StepTimes::all(|_| ms);
    }

    /// Learns which of the last drafts were accepted.
    fn judge(&mut self, text: &Text<'_>) {
        let drafted = &mut self.drafted[text.slot];
        if drafted.id != text.id {
            drafted.id = text.id;
            drafted.record = Record::new(FIRST_DRAFT);
            drafted.drafts.clear();
        }
        let came = text.tokens.iter().skip(drafted.at);
        for (draft, token) in drafted.drafts.drain(..).zip(came) {
            drafted.record.add(draft == *token);
            if draft != *token {
                break;
            }
        }
    }

    /// Tokens of a text that are still to be evaluated, the newest included.
    fn n_after(&self, text: &Text<'_>) -> usize {
        text.tokens.len() - reusable(text.tokens, self.slots.held(text.slot))
    }

    fn candidate(&self, text: &Text<'_>) -> Candidate {
        let new = text.tokens.iter().rev().take(self.n_after(text));
        let is_known = |&token: &Token| u32::try_from(token).is_ok_and(|n| n < self.n_vocab);
        let odds = self.drafted[text.slot].record.odds();
        let n_room = self.n_ctx.saturating_sub(text.tokens.len());
        let n_most = text.n_most.min(self.n_most).min(n_room);
        Candidate {
            odds: if new.into_iter().all(is_known) {
                vec![odds; n_most]
            } else {
                Vec::new()
            },
        }
    }

    fn price(&self, texts: &[Text<'_>]) -> Price {
        let reading = texts.iter().map(|text| {
            let n_more = self.n_after(text).saturating_sub(NEAR);
            self.read_ms * ratio(n_more, text.n_left.clamp(1, HORIZON))
        });
        Price {
            each_ms: self.times.expected(texts.len()).unwrap_or(0.0),
            once_ms: reading.sum(),
        }
    }

    /// Gives a slot as much of a text as the cache has already.
    fn prepare(&mut self, text: &Text<'_>) {
        let n_own = reusable(text.tokens, self.slots.held(text.slot));
        if text.tokens.len() - n_own > NEAR {
            let others = (0..self.drafted.len()).filter(|&other| other != text.slot);
            let best = others
                .map(|other| (common_prefix(text.tokens, self.slots.held(other)), other))
                .max();
            if let Some((n_common, other)) = best.filter(|best| best.0 > n_own + NEAR) {
                self.slots.copy(other, text.slot);
                self.slots.cut(text.slot, n_common);
            }
        }
        let n_held = reusable(text.tokens, self.slots.held(text.slot));
        self.slots.cut(text.slot, n_held);
    }

    /// Evaluates the new tokens of all texts in one call; returns the sequences that are up to date. A long
    /// prompt takes several steps, so that it does not delay others.
    fn read(
        &mut self,
        texts: &[Text<'_>],
        counts: &[usize],
        terms: &Terms<'_>,
    ) -> Result<Vec<Live>, BackendError> {
        let mut wanted: Vec<usize> = (0..texts.len()).filter(|&text| counts[text] > 0).collect();
        for &text in &wanted {
            self.prepare(&texts[text]);
        }
        wanted.sort_by_key(|&text| self.n_after(&texts[text]));
        let mut room = terms.n_prefill.max(NEAR).min(self.backend.n_batch());
        let (mut rows, mut live) = (Vec::new(), Vec::new());
        for index in wanted {
            let text = &texts[index];
            let n_held = self.slots.len(text.slot);
            let n_new = (text.tokens.len() - n_held).min(room);
            room -= n_new;
            let is_whole = n_held + n_new == text.tokens.len();
            let tokens = text.tokens.iter().enumerate();
            rows.extend(
                tokens
                    .skip(n_held)
                    .take(n_new)
                    .map(|(position, &token)| Row {
                        token,
                        position: to_u32(position),
                        seq: seq(text.slot),
                        output: position + 1 == text.tokens.len(),
                    }),
            );
            if is_whole {
                live.push(Live {
                    text: index,
                    slot: text.slot,
                    n_wanted: counts[index],
                    row: rows.len() - 1,
                });
            }
        }
        let started = Instant::now();
        if !self.evaluate(&rows)? {
            return Ok(Vec::new());
        }
        let took_ms = ms(started, Instant::now());
        if rows.len() >= NEAR {
            let of_one = took_ms / ratio(rows.len(), 1);
            let old = if self.read_ms > 0.0 {
                self.read_ms
            } else {
                of_one
            };
            self.read_ms = old + (of_one - old) * WEIGHT;
        } else if rows.len() <= 2 * live.len() {
            // Only each sequence's newest token, and its last draft if that was accepted.
            self.times.observe(rows.len(), took_ms);
        }
        Ok(live)
    }

    /// Evaluates rows; false if there is no room for them.
    fn evaluate(&mut self, rows: &[Row]) -> Result<bool, BackendError> {
        if rows.is_empty() {
            return Ok(true);
        }
        self.change_cache();
        while self.backend.decode(rows)? == Decoded::NoSpace {
            let is_idle = |&slot: &usize| rows.iter().all(|row| row.seq != seq(slot));
            let idle = (0..self.drafted.len()).filter(is_idle);
            let Some(other) = idle.into_iter().find(|&slot| self.slots.len(slot) > 0) else {
                self.n_pause = PAUSE;
                return Ok(false);
            };
            self.slots.clear(other);
            self.change_cache();
        }
        self.slots.record(rows);
        self.note_floors();
        Ok(true)
    }

    /// Applies the ledger's pending cache operations.
    fn change_cache(&mut self) {
        let mut changes = Changes::default();
        for op in self.slots.take_ops() {
            changes.change(&mut self.backend, &op);
        }
        for lost in changes.lost {
            self.slots.lose(lost as usize);
        }
    }

    fn note_floors(&mut self) {
        if self.backend.is_windowed() {
            let seqs = 0..to_u32(self.drafted.len());
            let floors: Vec<u32> = seqs.map(|seq| self.backend.floor(seq)).collect();
            self.slots.set_floors(&floors);
        }
    }

    /// Drafts the next tokens, after the texts were evaluated.
    fn run(
        &mut self,
        texts: &[Text<'_>],
        counts: &[usize],
        terms: &Terms<'_>,
    ) -> Result<Vec<Vec<Token>>, BackendError> {
        let mut drafts = vec![Vec::new(); texts.len()];
        let mut live = self.read(texts, counts, terms)?;
        while !live.is_empty() {
            let mut rows = Vec::new();
            live.retain_mut(|one| {
                let drafts = &mut drafts[one.text];
                let Some(token) = self.next(one, terms) else {
                    return false;
                };
                drafts.push(token);
                let position = texts[one.text].tokens.len() + drafts.len() - 1;
                one.row = rows.len();
                let goes_on = drafts.len() < one.n_wanted;
                if goes_on {
                    rows.push(Row {
                        token,
                        position: to_u32(position),
                        seq: seq(one.slot),
                        output: true,
                    });
                }
                goes_on
            });
            if rows.is_empty() {
                break;
            }
            let started = Instant::now();
            if !self.evaluate(&rows)? {
                break;
            }
            self.times.observe(rows.len(), ms(started, Instant::now()));
        }
        Ok(drafts)
    }

    /// The next draft of a sequence; `None` for an end token, or if its probability is too low.
    fn next(&mut self, one: &Live, terms: &Terms<'_>) -> Option<Token> {
        let (token, share) = self.backend.likeliest(one.row)?;
        if (terms.is_end)(token) || u32::try_from(token).is_ok_and(|n| n >= self.n_vocab) {
            return None;
        }
        if share < LEAST_SURE {
            self.drafted[one.slot].record.add(false);
            return None;
        }
        Some(token)
    }
}

impl<B: Backend> Drafter for DraftModel<B> {
    fn is_asked_for(&self) -> bool {
        true
    }

    fn draft(&mut self, texts: &[Text<'_>], terms: &Terms<'_>) -> Vec<Vec<Token>> {
        for text in texts {
            self.judge(text);
        }
        if self.n_pause > 0 {
            self.n_pause = self.n_pause.saturating_sub(1);
            return vec![Vec::new(); texts.len()];
        }
        let candidates: Vec<_> = texts.iter().map(|text| self.candidate(text)).collect();
        let counts = terms.choose(&candidates, self.price(texts));
        if counts.iter().all(|&count| count == 0) {
            self.times.skip();
        }
        for (text, _) in texts.iter().zip(&counts).filter(|(_, count)| **count == 0) {
            self.drafted[text.slot].record.fade(FIRST_DRAFT);
        }
        let drafts = self.run(texts, &counts, terms).unwrap_or_else(|error| {
            tracing::warn!(%error, "the draft model fails; answers go on without its drafts");
            self.n_pause = usize::MAX;
            vec![Vec::new(); texts.len()]
        });
        for (text, drafts) in texts.iter().zip(&drafts) {
            let drafted = &mut self.drafted[text.slot];
            drafted.at = text.tokens.len();
            drafted.drafts.clone_from(drafts);
        }
        drafts
    }

    /// The cells stay: next time they are compared with the text.
    fn forget(&mut self, slot: usize) {
        self.drafted[slot].drafts.clear();
    }
}
