//! The plan of one step.
//!
//! A plan is data. It lists everything that the backend has to do, in the executor's order: embeddings,
//! cache operations, an image, drafts, and the decode call.

use std::sync::Arc;
use std::time::Instant;

use super::batch::{self, Limits, Pending, Share};
use super::decode_width;
use super::embedding::EmbedCall;
use super::ledger::seq;
use super::offers::Offers;
use super::sequence::Sequence;
use super::state::{Retry, State};
use super::yielding;
use crate::engine::media::Media;
use crate::engine::row::{Row, SeqId};
use crate::protocol::{Priority, Speculation, Token};

/// Most draft tokens of one sequence in a call.
const N_DRAFT: usize = 31;

/// A cache operation. If the backend cannot do it, the sequence is left empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum CacheOp {
    /// Empties a sequence.
    Clear { seq: SeqId },
    /// Drops the positions from `from` on.
    Cut { seq: SeqId, from: u32 },
    /// Lets an empty sequence share the first `len` positions of another.
    Copy { from: SeqId, to: SeqId, len: u32 },
    /// Drops the positions `from..to` and moves the rest down.
    Shift { seq: SeqId, from: u32, to: u32 },
    /// Copies a sequence, which holds these tokens, to the host cache.
    Save { seq: SeqId, tokens: Vec<Token> },
    /// Fills an empty sequence with these tokens' state from the host cache. The `spare` sequences may be
    /// emptied for it.
    Load {
        seq: SeqId,
        tokens: Vec<Token>,
        n_positions: u32,
        spare: Vec<SeqId>,
    },
}

/// What the engine does in one step.
#[derive(Debug, Default)]
pub(in crate::engine) struct StepPlan {
    pub(in crate::engine) embed: Option<EmbedCall>,
    pub(in crate::engine) cache: Vec<CacheOp>,
    pub(in crate::engine) media: Option<MediaCall>,
    pub(in crate::engine) decode: Option<DecodeCall>,
    /// Prefixes of the host cache to fetch from their files.
    pub(in crate::engine) fetch: Vec<Vec<Token>>,
    /// Slots whose text no longer matches what the drafter knows.
    pub(in crate::engine) forgotten: Vec<usize>,
}

impl StepPlan {
    /// Whether nothing is computed.
    pub(in crate::engine) fn is_idle(&self) -> bool {
        self.embed.is_none() && self.media.is_none() && self.decode.is_none()
    }
}

/// An image to evaluate.
#[derive(Debug)]
pub(in crate::engine) struct MediaCall {
    pub(in crate::engine) slot: usize,
    pub(in crate::engine) position: u32,
    pub(in crate::engine) media: Arc<Media>,
}

/// A decode call.
#[derive(Debug, Default)]
pub(in crate::engine) struct DecodeCall {
    pub(in crate::engine) rows: Vec<Row>,
    /// The sequences in it, in the order of their rows.
    pub(in crate::engine) segments: Vec<Segment>,
    /// Prefill rows.
    pub(in crate::engine) n_prefill: usize,
    pub(in crate::engine) draft: Option<DraftTerms>,
    /// All rows belong to batch jobs, and this is not one of the calls guaranteed to them.
    pub(in crate::engine) is_for_jobs: bool,
}

/// The rows of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Segment {
    pub(in crate::engine) slot: usize,
    pub(in crate::engine) n_rows: usize,
    /// A token is sampled from the last row.
    pub(in crate::engine) is_sampled: bool,
    /// It gives log-probabilities of the prompt.
    pub(in crate::engine) tells_prompt: bool,
    /// Most draft tokens that may follow.
    pub(in crate::engine) n_draft: usize,
}

/// The limits on drafts for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct DraftTerms {
    /// Most rows of the call with drafts.
    pub(in crate::engine) max_rows: usize,
    /// Only drafts that pay off by measured times.
    pub(in crate::engine) is_measured: bool,
    /// Prefill rows that would fit into the time of a step.
    pub(in crate::engine) n_prefill: usize,
}

impl<S> State<S> {
    /// Plans one step.
    pub(in crate::engine) fn plan(&mut self, offers: &dyn Offers, now: Instant) -> StepPlan {
        let mut embed = None;
        // Cells that were freed for running sequences are not given to others.
        if !self.retry.is_full {
            // Before admission: in this step, a slot that became free serves waiting inputs.
            embed = self.plan_embeddings();
            self.admit(offers, now);
        }
        self.take_fetched(offers);
        self.join_leaders();
        let media = self.plan_media();
        let n_other = embed.as_ref().map_or(0, |call| call.rows.len());
        if self.has_people() {
            self.last_person = Some(now);
        }
        let decode = self.plan_decode(n_other, now);
        if media.is_none() && decode.is_none() {
            // The sequences that found no room no longer run.
            self.retry = Retry::default();
        }
        StepPlan {
            embed,
            cache: self.ledger.take_ops(),
            media,
            decode,
            fetch: std::mem::take(&mut self.fetch),
            forgotten: std::mem::take(&mut self.forgotten),
        }
    }

    /// Plans one image: that of the most senior sequence that has reached one.
    fn plan_media(&self) -> Option<MediaCall> {
        let running = self.running.iter().enumerate();
        let waiting = running.filter_map(|(slot, sequence)| {
            let sequence = sequence.as_ref().filter(|s| !s.is_held_up())?;
            let media = sequence.media.at(self.ledger.len(slot))?;
            Some((sequence.seniority(), slot, media))
        });
        let (_, slot, media) = waiting.min_by_key(|(seniority, ..)| *seniority)?;
        Some(MediaCall {
            slot,
            position: self.ledger.next_position(slot),
            media: Arc::clone(media),
        })
    }

    /// Prefill rows share the step's time with `n_other` rows of embeddings.
    fn plan_decode(&mut self, n_other: usize, now: Instant) -> Option<DecodeCall> {
        let is_for_all = yielding::is_for_all(self.n_calls);
        let pending = yielding::beside_people(self.pending(), &self.step_times, is_for_all);
        let is_read = self.is_somebody_reading();
        let mut n_prefill = self.budget.beside(n_other, is_read);
        if !self.has_people() && self.expects_people(now) {
            let longest_ms = yielding::longest_step_ms(self.facts.is_interruptible);
            n_prefill = n_prefill.min(self.budget.within(longest_ms));
        }
        let limits = Limits {
            n_batch: self.facts.n_batch,
            n_prefill: self.retry.n_prefill.map_or(n_prefill, |n| n.min(n_prefill)),
            n_decode: if is_for_all {
                pending.len()
            } else {
                self.n_decode(pending.len())
            },
            turn: self.n_calls,
        };
        let shares = batch::plan(&pending, limits);
        if shares.is_empty() {
            return None;
        }
        let draft = self.draft_terms(&shares, is_read);
        let is_of_job = |share: &Share| {
            let sequence = self.running[share.slot].as_ref();
            sequence.is_some_and(|sequence| sequence.priority() == Priority::Batch)
        };
        let mut call = DecodeCall {
            draft,
            is_for_jobs: shares.iter().all(is_of_job) && !is_for_all,
            ..DecodeCall::default()
        };
        for share in shares {
            self.add(&mut call, share, is_read);
        }
        Some(call)
    }

    /// Whether an interactive request runs or waits.
    fn has_people(&self) -> bool {
        let mut running = self.running.iter().flatten();
        self.waiting.has_interactive() || running.any(|s| s.priority() == Priority::Interactive)
    }

    /// Whether an interactive request ran or waited recently.
    fn expects_people(&self, now: Instant) -> bool {
        let since = self.last_person.map(|last| now.duration_since(last));
        since.is_some_and(|since| since < yielding::EXPECTED_BACK)
    }

    fn pending(&self) -> Vec<Pending> {
        let n_told = self.n_told_rows();
        let running = self.running.iter().enumerate();
        let pending = running.filter_map(|(slot, sequence)| {
            let sequence = sequence.as_ref().filter(|s| !s.is_held_up())?;
            let n_held = self.ledger.len(slot);
            Some(Pending {
                slot,
                n_tokens: if sequence.tells_prompt() {
                    sequence.n_next(n_held).min(n_told)
                } else {
                    sequence.n_next(n_held)
                },
                is_decoding: sequence.is_decoding(n_held),
                priority: sequence.priority(),
                order: sequence.order,
            })
        });
        pending.filter(|pending| pending.n_tokens > 0).collect()
    }

    /// Most rows of a prompt whose log-probabilities are to be reported: each row has logits, and every other
    /// sequence may have a row with logits in the same call.
    fn n_told_rows(&self) -> usize {
        let running = || self.running.iter().flatten();
        let n_telling = running().filter(|s| s.tells_prompt()).count();
        let n_rest = self.facts.n_outputs.saturating_sub(running().count());
        (n_rest / n_telling.max(1)).max(1)
    }

    /// How many of `n` decoding sequences go into the next call.
    fn n_decode(&self, n: usize) -> usize {
        if self.facts.on_gpu {
            // A GPU reads the weights once for all of them.
            return n;
        }
        decode_width::rows_per_call(n, &self.step_times)
    }

    fn add(&self, call: &mut DecodeCall, share: Share, is_read: bool) {
        let Some(sequence) = self.running[share.slot].as_ref() else {
            return;
        };
        let n_held = self.ledger.len(share.slot);
        if !sequence.is_decoding(n_held) {
            call.n_prefill += share.n_rows;
        }
        let end = n_held + share.n_rows;
        let is_sampled = end == sequence.tokens.len() && sequence.params.n_predict != Some(0);
        let positions = self.ledger.next_position(share.slot)..;
        let tokens = sequence.tokens[n_held..end].iter();
        call.rows
            .extend(tokens.zip(positions).zip(n_held + 1..).map(
                |((&token, position), n_after)| Row {
                    token,
                    position,
                    seq: seq(share.slot),
                    output: is_sampled && n_after == end || sequence.tells_prompt_at(n_after),
                },
            ));
        call.segments.push(Segment {
            slot: share.slot,
            n_rows: share.n_rows,
            is_sampled,
            tells_prompt: sequence.tells_prompt(),
            n_draft: if call.draft.is_some() {
                self.n_draft(sequence, is_read)
            } else {
                0
            },
        });
    }

    /// `None` if the call also has prefill rows, which take its time.
    fn draft_terms(&self, shares: &[Share], is_read: bool) -> Option<DraftTerms> {
        let is_decoding = |share: &Share| {
            let sequence = self.running[share.slot].as_ref();
            sequence.is_some_and(|sequence| sequence.is_decoding(self.ledger.len(share.slot)))
        };
        let may_draft = self.facts.speculation != Speculation::Off && !self.retry.without_drafts;
        let may_draft = may_draft && shares.iter().all(is_decoding);
        may_draft.then(|| DraftTerms {
            max_rows: self.facts.n_outputs.min(self.facts.n_batch),
            is_measured: self.facts.speculation == Speculation::Auto,
            n_prefill: self.budget.n_prefill(is_read),
        })
    }

    /// Most draft tokens of a sequence in its next call.
    fn n_draft(&self, sequence: &Sequence<S>, is_read: bool) -> usize {
        // Drafts of a batch job would only delay interactive sequences.
        let is_idle = !is_read || sequence.priority() != Priority::Batch;
        let is_text = sequence.media.is_empty();
        // Where the user or the client asked for drafts, they may change the answer.
        let may_vary = self.facts.speculation == Speculation::On
            || self.facts.has_draft_model
            || !sequence.prediction.is_empty();
        if !is_idle || !is_text || !may_vary && should_repeat(sequence) {
            return 0;
        }
        // No more than the sequence may still generate, less the token that it samples itself.
        let n_room = sequence.n_ctx.saturating_sub(sequence.tokens.len());
        let n_most = sequence.n_left().min(n_room);
        n_most.saturating_sub(1).min(N_DRAFT)
    }
}

/// Whether an answer should be reproducible. Whether drafts are used depends on measured times, and
/// computing rows together changes the last bits of results. Clients that set a seed, or a temperature of
/// 0, would notice that.
fn should_repeat<S>(sequence: &Sequence<S>) -> bool {
    let sampling = &sequence.params.sampling;
    sampling.seed.is_some() || sampling.temperature <= 0.0
}
