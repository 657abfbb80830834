//! Handles a full pool, and a sequence that has filled its own context.

use crate::engine::output::Piece;
use std::cmp::Reverse;
use std::time::Instant;

use super::offers::LEAST;
use super::prefix;
use super::state::State;
use crate::engine::failure::failure;
use crate::protocol::{FailureKind, FinishReason};

impl<S> State<S> {
    /// The ladder for a call that found no room: (1) evict idle slots, the least recently used first, (2)
    /// evaluate less of the prompts (`n_prefill` is how much it was), (3) preempt the youngest sequence of the
    /// lowest class, (4) end a sequence that does not fit even alone. No other sequence is ended.
    ///
    /// Takes one rung; the next plan tries again. Each rung reduces the work, so this terminates.
    pub(super) fn make_space(&mut self, n_prefill: usize, now: Instant) {
        self.retry.is_full = true;
        if self.evict_idle() {
            return;
        }
        if n_prefill > 1 {
            self.retry.n_prefill = Some(n_prefill / 2);
            return;
        }
        let Some(youngest) = self.youngest(|_| true) else {
            return;
        };
        if self.busy().len() > 1 {
            self.preempt(youngest);
        } else {
            self.end_for_lack_of_space(youngest, now);
        }
    }

    /// Empties the least recently used idle slot, else that of a partly evaluated input; false if none has
    /// cells.
    pub(super) fn evict_idle(&mut self) -> bool {
        let Some(slot) = self.spare_slots().first().copied() else {
            let begun = self.embeddings.begun_in();
            if begun.is_none_or(|slot| self.ledger.len(slot) == 0) {
                return false;
            }
            if let Some(slot) = self.embeddings.give_up() {
                self.ledger.clear(slot);
            }
            return true;
        };
        self.save_prefix(slot, 0);
        self.ledger.clear(slot);
        self.counters.n_evicted += 1;
        true
    }

    /// The idle slots with cells, the least recently used first.
    pub(super) fn spare_slots(&self) -> Vec<usize> {
        let idle = (0..self.running.len()).filter(|&slot| self.is_idle(slot));
        let mut spare: Vec<usize> = idle.filter(|&slot| self.ledger.len(slot) > 0).collect();
        spare.sort_by_key(|&slot| self.ledger.last_used(slot));
        spare
    }

    fn end_for_lack_of_space(&mut self, slot: usize, now: Instant) {
        tracing::warn!("a sequence does not fit into the KV cache, even alone, and is ended");
        let has_output = self.running[slot]
            .as_ref()
            .is_some_and(|sequence| sequence.n_generated > 0);
        if has_output {
            self.finish(slot, FinishReason::Length, Piece::default(), now);
        } else if let Some(sequence) = self.release(slot) {
            let message = "the request does not fit into the model's cache, even alone";
            self.fail(sequence.id, failure(FailureKind::Internal, message));
        }
    }

    /// Saves a slot's content to the host cache, if that is worth it, before all but its first `n_left`
    /// tokens are dropped.
    pub(super) fn save_prefix(&mut self, slot: usize, n_left: usize) {
        let n_lost = self.ledger.len(slot).saturating_sub(n_left);
        let is_worth_it = self.facts.has_host_cache && n_lost >= LEAST;
        if is_worth_it && !self.has_twin(slot) && !self.would_hold_up() {
            self.ledger.save(slot);
        }
    }

    /// Whether another slot makes this one redundant.
    fn has_twin(&self, slot: usize) -> bool {
        (0..self.running.len()).any(|other| other != slot && self.covers(other, slot))
    }

    fn covers(&self, other: usize, slot: usize) -> bool {
        let (held, other) = (self.ledger.held(slot), self.ledger.held(other));
        prefix::is_covered(held, other, !self.facts.is_windowed)
    }

    /// The given slots without the redundant ones, the most recently used first.
    pub(in crate::engine) fn distinct(&self, mut slots: Vec<usize>) -> Vec<usize> {
        slots.sort_by_key(|&slot| Reverse(self.ledger.len(slot)));
        let mut kept: Vec<usize> = Vec::new();
        for slot in slots {
            if !kept.iter().any(|&longer| self.covers(longer, slot)) {
                kept.push(slot);
            }
        }
        kept.sort_by_key(|&slot| Reverse(self.ledger.last_used(slot)));
        kept
    }

    /// Cells that were filled one by one are also copied from a GPU one by one, which would delay running
    /// answers.
    fn would_hold_up(&self) -> bool {
        self.facts.on_gpu && self.is_somebody_reading()
    }

    /// Makes room in a sequence's own context: keeps its first tokens, drops half of what follows and moves the
    /// rest down. False if the request does not want that, the memory cannot do it, or there are images.
    pub(super) fn shift_context(&mut self, slot: usize) -> bool {
        let Some(sequence) = self.running[slot].as_ref() else {
            return false;
        };
        if !sequence.params.shift || !self.facts.can_shift || !sequence.media.is_empty() {
            return false;
        }
        let n_held = self.ledger.len(slot);
        let wanted = usize::try_from(sequence.params.n_keep).unwrap_or(sequence.n_prompt);
        let keep = wanted
            .saturating_add(usize::from(self.facts.add_bos))
            .min(sequence.n_ctx.saturating_sub(4))
            .min(n_held.saturating_sub(1));
        let to = keep + ((n_held - keep) / 2).max(1);
        if to > n_held || !self.ledger.can_cut(slot, keep) {
            return false;
        }
        for other in self.ledger.sharers(slot, to) {
            if self.is_idle(other) {
                self.ledger.clear(other);
            }
        }
        if self.ledger.sharers(slot, to).is_empty() {
            self.ledger.drop_middle(slot, keep, to);
        } else {
            // Another running sequence uses these cells, so they cannot move, and this one evaluates the
            // rest again.
            self.ledger.cut(slot, keep);
        }
        if let Some(sequence) = self.running[slot].as_mut() {
            sequence.tokens.drain(keep..to);
        }
        self.forgotten.push(slot);
        true
    }
}
