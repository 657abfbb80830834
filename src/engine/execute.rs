//! Executes a plan: the only part of the engine that calls the backend.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::backend::{Backend, Decoded as Evaluated, Pick};
use super::cache_ops::Changes;
use super::host_cache::HostCache;
use super::interrupt::Interrupt;
use super::logprobs;
use super::row::{Row, SeqId};
use super::schedule::commit::{Called, Decoded, Outcome, Sampled, SampledToken};
use super::schedule::embedding::{EmbedCall, Embedded};
use super::schedule::ledger::seq;
use super::schedule::plan::{CacheOp, DecodeCall, DraftTerms, MediaCall, Segment, StepPlan};
use super::schedule::sequence::ms;
use super::schedule::state::Running;
use super::schedule::step_times::StepTimes;
use super::speculate::{Drafter, Terms, Text};
use super::units::to_u32;
use crate::protocol::{GenerateParams, PromptToken, Token, TokenLogprob};

/// The backend, the drafter and the host cache.
pub(super) struct Executor<B: Backend> {
    pub(super) backend: B,
    pub(super) drafter: Box<dyn Drafter>,
    /// Prefixes that lost their cells.
    pub(super) host: HostCache,
    /// Interrupts the calls of batch jobs.
    pub(super) interrupt: Arc<Interrupt>,
}

/// The tokens of one sequence, while they are sampled.
struct Sampling {
    /// The next row to sample from.
    row: usize,
    /// The position after the rows that are not drafts.
    position: u32,
    drafts: Vec<Token>,
    n_confirmed: usize,
    result: Sampled,
}

impl<B: Backend> Executor<B> {
    /// Executes a plan. It changes nothing in the running sequences except their samplers.
    pub(super) fn execute(
        &mut self,
        plan: &StepPlan,
        running: &mut Running<B::Sampler>,
        times: &StepTimes,
    ) -> Outcome {
        for &slot in &plan.forgotten {
            self.drafter.forget(slot);
        }
        for tokens in &plan.fetch {
            self.host.fetch(tokens);
        }
        let mut changes = Changes::default();
        let mut outcome = Outcome::default();
        if let Some(call) = &plan.embed {
            changes.apply(&mut self.backend, &mut self.host, &call.cache);
            outcome.embed = Some(self.embed(call, &mut changes));
        }
        changes.apply(&mut self.backend, &mut self.host, &plan.cache);
        let is_lost = |slot: usize| changes.lost.contains(&seq(slot));
        let media = plan.media.as_ref().filter(|call| !is_lost(call.slot));
        outcome.media = media.map(|call| self.evaluate_media(call));
        if let Some(call) = &plan.decode {
            outcome.decode = self.decode(call, &mut changes, running, times);
        }
        if self.backend.is_windowed() {
            let seqs = 0..to_u32(running.len());
            outcome.floors = seqs.map(|seq| self.backend.floor(seq)).collect();
        }
        outcome.lost = changes.lost.iter().map(|&seq| seq as usize).collect();
        outcome.n_saved = changes.n_saved;
        outcome.n_loaded = changes.n_loaded;
        outcome
    }

    /// Applies cache operations outside of a plan.
    pub(super) fn apply(&mut self, ops: &[CacheOp]) -> Changes {
        let mut changes = Changes::default();
        changes.apply(&mut self.backend, &mut self.host, ops);
        changes
    }

    fn embed(&mut self, call: &EmbedCall, changes: &mut Changes) -> Embedded {
        self.interrupt.allow(call.may_break_off);
        let evaluated = self.backend.decode_embeddings(&call.rows);
        self.interrupt.allow(false);
        match evaluated {
            Ok(Evaluated::Done) => {
                let vector = |&row: &usize| {
                    let seq = call.rows.get(row)?.seq;
                    self.backend.embedding(seq, row)
                };
                Embedded::Done(call.outputs.iter().map(vector).collect())
            }
            Ok(Evaluated::NoSpace) => Embedded::NoSpace,
            Ok(Evaluated::Interrupted) => {
                self.drop_rows(&call.rows, changes);
                Embedded::Interrupted
            }
            Err(error) => Embedded::Failed(error.to_string()),
        }
    }

    fn evaluate_media(&mut self, call: &MediaCall) -> Called<()> {
        let decoded = self
            .backend
            .decode_media(seq(call.slot), call.position, &call.media);
        match decoded {
            Ok(Evaluated::Done) => Called::Done(()),
            // An image's call is never interrupted.
            Ok(Evaluated::NoSpace | Evaluated::Interrupted) => Called::NoSpace,
            Err(error) => Called::Failed(error.to_string()),
        }
    }

    /// `None` if there was nothing to evaluate, or the call was interrupted: as if it had not been made.
    fn decode(
        &mut self,
        call: &DecodeCall,
        changes: &mut Changes,
        running: &mut Running<B::Sampler>,
        times: &StepTimes,
    ) -> Option<Decoded> {
        let drafts = match call.draft {
            Some(terms) => self.drafts(call, terms, running, times),
            None => Vec::new(),
        };
        let started = Instant::now();
        let Rows {
            rows,
            sampling,
            telling,
        } = with_drafts(call, drafts, &|slot| changes.lost.contains(&seq(slot)));
        if rows.is_empty() {
            return None;
        }
        let has_drafts = sampling.iter().any(|one| !one.drafts.is_empty());
        let mut prompts = Vec::new();
        self.interrupt.allow(self.may_break_off(call));
        let evaluated = self.backend.decode(&rows);
        self.interrupt.allow(false);
        let called = match evaluated {
            Ok(Evaluated::Done) => {
                // Before the backend reuses the memory of the logits.
                prompts = self.tell_prompts(&rows, telling, running);
                Called::Done(self.sample(sampling, running))
            }
            Ok(Evaluated::NoSpace) => Called::NoSpace,
            Ok(Evaluated::Interrupted) => {
                self.drop_rows(&rows, changes);
                return None;
            }
            Err(error) => Called::Failed(error.to_string()),
        };
        Some(Decoded {
            called,
            prompts,
            n_rows: rows.len(),
            has_drafts,
            ms: ms(started, Instant::now()),
        })
    }

    /// Whether the call may be interrupted: it is for batch jobs, and the cache can drop what it adds.
    fn may_break_off(&self, call: &DecodeCall) -> bool {
        let can_drop = |segment: &Segment| {
            self.backend
                .can_take_back(seq(segment.slot), segment.n_rows)
        };
        call.is_for_jobs && call.segments.iter().all(can_drop)
    }

    /// Drops the rows that an interrupted call has left in the cache.
    fn drop_rows(&mut self, rows: &[Row], changes: &mut Changes) {
        let mut begin: BTreeMap<SeqId, u32> = BTreeMap::new();
        for row in rows {
            begin.entry(row.seq).or_insert(row.position);
        }
        for (seq, from) in begin {
            changes.change(&mut self.backend, &CacheOp::Cut { seq, from });
        }
    }

    /// The log-probabilities of the prompts' tokens that follow these rows.
    fn tell_prompts(
        &self,
        rows: &[Row],
        telling: Vec<(usize, Range<usize>)>,
        running: &Running<B::Sampler>,
    ) -> Vec<(usize, Vec<PromptToken>)> {
        let told = telling.into_iter().filter_map(|(slot, own)| {
            let sequence = running[slot].as_ref()?;
            let n_top = sequence.params.logprobs.unwrap_or(0);
            let entry = |logits: Option<&[f32]>, token: Token| {
                logprobs::prompt_entry(&self.backend, logits, token, n_top)
            };
            let first = sequence
                .tokens
                .first()
                .filter(|_| sequence.n_prompt_told == 0);
            let mut tokens: Vec<PromptToken> =
                first.iter().map(|token| entry(None, **token)).collect();
            for row in own {
                let place = rows[row].position as usize + 1;
                if let Some(token) = sequence.tokens.get(place)
                    && sequence.tells_prompt_at(place)
                {
                    tokens.push(entry(self.backend.logits(row), *token));
                }
            }
            Some((slot, tokens))
        });
        told.collect()
    }

    /// The drafts of each sequence of a call, in the order of its segments.
    fn drafts(
        &mut self,
        call: &DecodeCall,
        terms: DraftTerms,
        running: &Running<B::Sampler>,
        times: &StepTimes,
    ) -> Vec<(usize, Vec<Token>)> {
        let backend = &self.backend;
        let segments = call.segments.iter().filter(|segment| segment.n_draft > 0);
        let texts = segments.filter_map(|segment| {
            let sequence = running[segment.slot].as_ref()?;
            let can_take_back = backend.can_take_back(seq(segment.slot), segment.n_draft);
            Some(Text {
                slot: segment.slot,
                id: sequence.id,
                tokens: &sequence.tokens,
                prediction: &sequence.prediction,
                n_most: if can_take_back { segment.n_draft } else { 0 },
                n_left: sequence.n_left(),
            })
        });
        let texts: Vec<Text<'_>> = texts.collect();
        let terms = Terms {
            n_plain: call.segments.len(),
            max_rows: terms.max_rows,
            times: terms.is_measured.then_some(times),
            n_prefill: terms.n_prefill,
            is_end: &|token| backend.is_end(token),
        };
        let drafts = self.drafter.draft(&texts, &terms);
        let slots = texts.iter().map(|text| text.slot);
        slots.zip(drafts).collect()
    }

    /// Samples a token for every fully evaluated sequence, and further tokens as long as its drafts are
    /// accepted.
    ///
    /// A sequence's drafts are rows after its own, each with logits. They are sampled in order by the
    /// sequence's own sampler, from the same logits as without drafts, and the first token that differs from
    /// its draft ends it: so the sampler never sees a draft, the distribution, the seed and the constraint
    /// still hold, and every call gives at least the token that it would have given without drafts.
    fn sample(
        &mut self,
        mut sampling: Vec<Sampling>,
        running: &mut Running<B::Sampler>,
    ) -> Vec<Sampled> {
        sampling.sort_by_key(|one| one.result.slot);
        let mut live: Vec<usize> = (0..sampling.len()).collect();
        while !live.is_empty() {
            let tokens = {
                let mut wanted = live.iter().map(|&index| &sampling[index]).peekable();
                let mut picks = Vec::with_capacity(live.len());
                for (slot, sequence) in running.iter_mut().enumerate() {
                    if let Some(one) = wanted.next_if(|one| one.result.slot == slot)
                        && let Some(sequence) = sequence
                    {
                        let sampler = &mut sequence.sampler;
                        picks.push(Pick {
                            row: one.row,
                            sampler,
                        });
                    }
                }
                self.backend.sample(&mut picks)
            };
            let mut tokens = tokens.into_iter();
            live.retain(|&index| {
                let one = &mut sampling[index];
                match (tokens.next(), &running[one.result.slot]) {
                    (Some(Ok(token)), Some(sequence)) => {
                        let special = sequence.preserved.contains(&token);
                        let sampled = self.describe(one.row, token, special, &sequence.params);
                        one.take(sampled)
                    }
                    (Some(Err(error)), _) => {
                        one.result.failed = Some(error.to_string());
                        false
                    }
                    _ => false,
                }
            });
        }
        let results = sampling.into_iter();
        results.map(|one| self.drop_wrong(one)).collect()
    }

    fn describe(
        &self,
        row: usize,
        token: Token,
        special: bool,
        params: &GenerateParams,
    ) -> SampledToken {
        let is_end = self.backend.is_end(token);
        let mut bytes = Vec::new();
        self.backend.append_piece(token, special, &mut bytes);
        SampledToken {
            token,
            is_end,
            bytes,
            logprob: params
                .logprobs
                .filter(|_| !is_end || !params.logprobs_of.is_empty())
                .and_then(|n_top| self.logprob(row, token, n_top, &params.logprobs_of)),
        }
    }

    fn logprob(&self, row: usize, token: Token, n_top: u32, of: &[Token]) -> Option<TokenLogprob> {
        let logits = self.backend.logits(row)?;
        Some(logprobs::entry(&self.backend, logits, token, n_top, of))
    }

    /// Drops the cells of wrong drafts.
    fn drop_wrong(&mut self, sampling: Sampling) -> Sampled {
        let mut result = sampling.result;
        if sampling.n_confirmed < sampling.drafts.len() {
            let seq = seq(result.slot);
            let from = sampling.position + to_u32(sampling.n_confirmed);
            if !self.backend.remove(seq, from, None) {
                self.backend.remove(seq, 0, None);
                result.is_lost = true;
            }
        }
        result
    }
}

impl Sampling {
    /// Takes the next token; returns whether the row after it can be sampled, too.
    fn take(&mut self, sampled: SampledToken) -> bool {
        let is_confirmed =
            !sampled.is_end && self.drafts.get(self.n_confirmed) == Some(&sampled.token);
        self.result.tokens.push(sampled);
        if is_confirmed {
            self.n_confirmed += 1;
            self.result.n_confirmed += 1;
            self.row += 1;
        }
        is_confirmed
    }
}

/// The rows of a decode call, and what they are for.
struct Rows {
    rows: Vec<Row>,
    sampling: Vec<Sampling>,
    /// The slots whose prompts' log-probabilities are reported, and their rows.
    telling: Vec<(usize, Range<usize>)>,
}

/// The rows of a call with drafts and without lost sequences, and what is sampled from them.
fn with_drafts(
    call: &DecodeCall,
    mut drafts: Vec<(usize, Vec<Token>)>,
    is_lost: &dyn Fn(usize) -> bool,
) -> Rows {
    let n_drafts: usize = drafts.iter().map(|(_, drafts)| drafts.len()).sum();
    let mut rows = Vec::with_capacity(call.rows.len() + n_drafts);
    let mut sampling = Vec::with_capacity(call.segments.len());
    let mut telling = Vec::new();
    let mut planned = call.rows.as_slice();
    for segment in &call.segments {
        let (own, rest) = planned.split_at(segment.n_rows);
        planned = rest;
        if is_lost(segment.slot) {
            continue;
        }
        if segment.tells_prompt {
            telling.push((segment.slot, rows.len()..rows.len() + own.len()));
        }
        rows.extend_from_slice(own);
        let Some(last) = own.last().filter(|_| segment.is_sampled) else {
            continue;
        };
        let drafts = drafts
            .iter_mut()
            .find(|(slot, _)| *slot == segment.slot)
            .map(|(_, drafts)| std::mem::take(drafts))
            .unwrap_or_default();
        let row = rows.len() - 1;
        let position = last.position + 1;
        rows.extend(drafts.iter().zip(position..).map(|(&token, position)| Row {
            token,
            position,
            seq: last.seq,
            output: true,
        }));
        sampling.push(Sampling {
            row,
            position,
            n_confirmed: 0,
            result: Sampled {
                slot: segment.slot,
                n_drafted: drafts.len(),
                ..Sampled::default()
            },
            drafts,
        });
    }
    Rows {
        rows,
        sampling,
        telling,
    }
}
