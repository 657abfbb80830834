//! What happens when the pool is full, and when a sequence has filled its own context.

use super::backend::Backend;
use super::core::Engine;
use super::output::Piece;
use super::prompt;
use super::step::Batch;
use crate::protocol::{FailureKind, FinishReason};

impl<B: Backend> Engine<B> {
    /// The ladder for a batch that found no room: (1) forget what idle slots hold, the least
    /// recently used first, (2) evaluate less of the prompts, (3) pause the youngest sequence of
    /// the lowest class, (4) end the one that does not fit even alone. Nobody else is ended.
    ///
    /// Takes one rung, and returns how many prompt tokens to try next. Each rung leaves less to do,
    /// so that trying again comes to an end.
    pub(super) fn make_space(&mut self, batch: &Batch, n_prefill: usize) -> usize {
        if self.forget_idle() {
            return n_prefill;
        }
        if batch.n_prefill > 1 {
            return batch.n_prefill / 2;
        }
        let Some(youngest) = self.youngest(|_| true) else {
            return n_prefill;
        };
        if self.busy().len() > 1 {
            self.preempt(youngest);
        } else {
            self.end_for_lack_of_space(youngest);
        }
        n_prefill
    }

    /// Empties the idle slot whose last use is longest ago, then that of an input that is begun; false
    /// when none has cells.
    pub(super) fn forget_idle(&mut self) -> bool {
        let idle = (0..self.running.len()).filter(|&slot| self.is_idle(slot));
        let held = idle.filter(|&slot| self.slots.len(slot) > 0);
        let Some(slot) = held.min_by_key(|&slot| self.slots.last_used(slot)) else {
            let Some(begun) = self.begun.take() else {
                return false;
            };
            self.slots.clear(&mut self.backend, begun.slot);
            return true;
        };
        self.spill(slot, 0);
        self.slots.clear(&mut self.backend, slot);
        self.tally.n_evicted += 1;
        true
    }

    fn end_for_lack_of_space(&mut self, slot: usize) {
        tracing::warn!("a sequence does not fit into the KV cache, even alone, and is ended");
        let has_output = self.running[slot]
            .as_ref()
            .is_some_and(|sequence| sequence.n_generated > 0);
        if has_output {
            self.finish(slot, FinishReason::Length, Piece::default());
        } else if let Some(sequence) = self.release(slot) {
            let failure = prompt::failure(
                FailureKind::Internal,
                "the request does not fit into the model's cache, even alone",
            );
            self.fail(sequence.id, failure);
        }
    }

    /// Makes room in a sequence's own context: keeps its beginning, drops half of what follows and
    /// moves the rest down. False when that is not wanted, the memory cannot do it, or there are images.
    pub(super) fn shift_context(&mut self, slot: usize) -> bool {
        let info = self.backend.info();
        let Some(sequence) = self.running[slot].as_ref() else {
            return false;
        };
        if !sequence.params.shift || !info.can_shift || !sequence.gallery.is_empty() {
            return false;
        }
        let n_held = self.slots.len(slot);
        let wanted = usize::try_from(sequence.params.n_keep).unwrap_or(sequence.n_prompt);
        let keep = wanted
            .saturating_add(usize::from(info.add_bos))
            .min(sequence.n_ctx.saturating_sub(4))
            .min(n_held.saturating_sub(1));
        let to = keep + ((n_held - keep) / 2).max(1);
        if to > n_held {
            return false;
        }
        for other in self.slots.sharers(slot, to) {
            if self.is_idle(other) {
                self.slots.clear(&mut self.backend, other);
            }
        }
        if self.slots.sharers(slot, to).is_empty() {
            if !self.slots.drop_middle(&mut self.backend, slot, keep, to) {
                return false;
            }
        } else {
            // Another running sequence has its place in these cells: they stay where they are, and
            // this one evaluates its rest anew.
            self.slots.cut(&mut self.backend, slot, keep);
        }
        if let Some(sequence) = self.running[slot].as_mut() {
            sequence.tokens.drain(keep..to);
        }
        self.guesser.forget(slot);
        true
    }
}
