//! Guesses in a batch: who makes them, what becomes of them.
//!
//! A sequence's guesses are rows behind its own, each with logits. They are sampled in order by the
//! sequence's own sampler, from the same logits as without guesses, and the first token that differs
//! from its guess ends it: so the sampler never knows of a guess, the distribution, the seed and the
//! constraint hold, and every call gives at least the token that it would have given anyway. The
//! cells of guesses that were wrong are dropped in the same step.

use super::backend::Backend;
use super::batcher::Share;
use super::core::Engine;
use super::sequence::Sequence;
use super::slot::seq;
use super::speculate::{Terms, Text};
use super::to_u32;
use crate::protocol::{Priority, Speculation, Token};

/// Guesses of one sequence in a batch.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) slot: usize,
    pub(super) tokens: Vec<Token>,
    /// How many of them came true.
    pub(super) n_accepted: usize,
}

/// Most guesses of one sequence in a call.
const N_DRAFT: usize = 31;

impl<B: Backend> Engine<B> {
    /// The guesses for a call; none where it evaluates prompts, too: that call's time is taken.
    pub(super) fn drafts(&mut self, plan: &[Share]) -> Vec<Draft> {
        if self.speculation == Speculation::Off {
            return Vec::new();
        }
        let n_held = |slot| self.slots.len(slot);
        let is_decoding = |share: &Share| {
            let sequence = self.running[share.slot].as_ref();
            sequence.is_some_and(|sequence| sequence.is_decoding(n_held(share.slot)))
        };
        if !plan.iter().all(is_decoding) {
            return Vec::new();
        }
        let is_read = self.is_somebody_reading();
        let backend = &self.backend;
        // With guesses that the user asked for, answers may differ by them.
        let may_vary = self.speculation == Speculation::On || self.guesser.is_asked_for();
        let texts: Vec<Text<'_>> = plan
            .iter()
            .filter_map(|share| {
                let sequence = self.running[share.slot].as_ref()?;
                // A batch job's guesses would only cost those time who read along.
                let is_idle = !is_read || sequence.priority() != Priority::Batch;
                let is_text = sequence.gallery.is_empty();
                let may_guess = is_idle && is_text && (may_vary || !should_repeat(sequence));
                may_guess.then(|| text(backend, sequence, share.slot))
            })
            .collect();
        let terms = Terms {
            n_plain: plan.len(),
            max_rows: backend.n_outputs().min(backend.n_batch()),
            times: (self.speculation == Speculation::Auto).then_some(&self.step_times),
            n_prefill: self.budget.n_prefill(is_read),
            is_end: &|token| backend.is_end(token),
        };
        let guesses = self.guesser.guess(&texts, &terms);
        let drafts = texts.iter().zip(guesses).map(|(text, tokens)| Draft {
            slot: text.slot,
            tokens,
            n_accepted: 0,
        });
        drafts.filter(|draft| !draft.tokens.is_empty()).collect()
    }

    /// Counts the guesses of a batch for their sequences.
    pub(super) fn count_drafts(&mut self, drafts: &[Draft]) {
        for draft in drafts {
            if let Some(sequence) = self.running[draft.slot].as_mut() {
                sequence.n_drafted += to_u32(draft.tokens.len());
            }
        }
    }

    /// Whether the token that a sequence has picked is its next guess, so that the row behind it can
    /// be sampled, too.
    pub(super) fn confirm(&mut self, drafts: &mut [Draft], slot: usize, token: Token) -> bool {
        let Some(draft) = drafts.iter_mut().find(|draft| draft.slot == slot) else {
            return false;
        };
        let is_guessed = draft.tokens.get(draft.n_accepted) == Some(&token);
        if is_guessed {
            draft.n_accepted += 1;
            if let Some(sequence) = self.running[slot].as_mut() {
                sequence.n_accepted += 1;
            }
        }
        is_guessed
    }

    /// Drops the cells of wrong guesses.
    pub(super) fn take_back(&mut self, drafts: &[Draft]) {
        for draft in drafts {
            let n_wrong = draft.tokens.len() - draft.n_accepted;
            let len = self.slots.len(draft.slot).saturating_sub(n_wrong);
            self.slots.cut(&mut self.backend, draft.slot, len);
        }
    }
}

/// Whether an answer should be the same the next time. Whether guessing pays depends on the machine's
/// moods, and rows that are computed together have other last bits: who sets a seed, or takes no chances
/// at all, would see that.
fn should_repeat<S>(sequence: &Sequence<S>) -> bool {
    let sampling = &sequence.params.sampling;
    sampling.seed.is_some() || sampling.temperature <= 0.0
}

/// What a guesser is told of a sequence. It may guess as far as the sequence may go on at all, one
/// token being its own.
fn text<'a, B: Backend>(backend: &B, sequence: &'a Sequence<B::Sampler>, slot: usize) -> Text<'a> {
    let n_room = sequence.n_ctx.saturating_sub(sequence.tokens.len());
    let n_left = sequence.n_left();
    let n_most = n_left.min(n_room).saturating_sub(1).min(N_DRAFT);
    let can_take_back = backend.can_take_back(seq(slot), n_most);
    Text {
        slot,
        id: sequence.id,
        tokens: &sequence.tokens,
        n_most: if can_take_back { n_most } else { 0 },
        n_left,
    }
}
