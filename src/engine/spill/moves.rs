//! Between slots and what is kept of them outside.

use std::cmp::Reverse;
use std::time::Instant;

use super::{LEAST, Spill, State};
use crate::engine::backend::Backend;
use crate::engine::core::Engine;
use crate::engine::prefix_cache;
use crate::protocol::Token;

/// Further idle slots that are emptied for a state that does not go in: cells of layers with a
/// window are counted by nobody but llama.cpp.
const N_TRIES: usize = 2;

/// What became of an attempt to restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Restored {
    /// Nothing is kept that would save more.
    Nothing,
    /// The slot holds the beginning of the prompt.
    Done,
    /// The state was no good and is gone; the slots may be others than before.
    Failed,
}

impl<B: Backend> Engine<B> {
    /// Lets beginnings that lose their cells be kept elsewhere.
    pub(in crate::engine) fn spill_to(&mut self, spill: Spill) {
        self.spill = spill;
    }

    /// Keeps what a slot holds, before all but its first `n_left` tokens are dropped.
    pub(in crate::engine) fn spill(&mut self, slot: usize, n_left: usize) {
        let n_lost = self.slots.len(slot).saturating_sub(n_left);
        if n_lost < LEAST || !self.is_new(slot) || self.has_twin(slot) || self.would_hold_up() {
            return;
        }
        let tokens = self.slots.held(slot).to_vec();
        if let Some(bytes) = self.slots.save(&self.backend, slot) {
            self.tally.n_spilled += 1;
            self.spill.keep(State { tokens, bytes });
        }
    }

    /// Whether what a slot holds is long enough to be kept, and is not kept already.
    fn is_new(&self, slot: usize) -> bool {
        let held = self.slots.held(slot);
        held.len() >= LEAST && self.spill.is_on() && !self.spill.has(held)
    }

    /// Whether another slot does all that this one does.
    fn has_twin(&self, slot: usize) -> bool {
        (0..self.running.len()).any(|other| other != slot && self.covers(other, slot))
    }

    fn covers(&self, other: usize, slot: usize) -> bool {
        let can_cut = !self.backend.is_windowed();
        super::is_covered(self.slots.held(slot), self.slots.held(other), can_cut)
    }

    /// Cells that were filled one by one are copied from a graphics card one by one, which those who are
    /// being answered would notice.
    fn would_hold_up(&self) -> bool {
        self.backend.info().vram_bytes > 0 && self.is_somebody_reading()
    }

    /// Fills an idle slot with the beginning of a prompt of which slots offer `n_now` tokens.
    pub(in crate::engine) fn restore(
        &mut self,
        slot: usize,
        prompt: &[Token],
        n_now: usize,
    ) -> Restored {
        let offer = self.spill.find(prompt);
        let Some(offer) = offer.filter(|offer| offer.n_reuse >= n_now + LEAST) else {
            return Restored::Nothing;
        };
        let Some(state) = self.spill.take(offer) else {
            return Restored::Failed;
        };
        let n_left = prefix_cache::common_prefix(self.slots.held(slot), &state.tokens);
        self.spill(slot, n_left);
        self.slots.clear(&mut self.backend, slot);
        let n_pool = self.backend.info().n_ctx_pool as usize;
        let every: Vec<usize> = (0..self.running.len()).collect();
        while self.slots.n_cells(&every) + state.tokens.len() > n_pool && self.forget_idle() {}
        for _ in 0..=N_TRIES {
            if self.slots.load(&mut self.backend, slot, &state) {
                self.slots.cut(&mut self.backend, slot, offer.n_reuse);
                self.tally.n_restored += 1;
                return Restored::Done;
            }
            if !self.forget_idle() {
                break;
            }
        }
        self.spill.forget(&state.tokens);
        tracing::debug!(
            n_tokens = state.tokens.len(),
            "a beginning that was kept did not go back into the cache"
        );
        Restored::Failed
    }

    /// Puts all that is worth it into files for the next runner of this model, the most recently
    /// used first, until the deadline.
    pub(in crate::engine) fn close(&mut self, deadline: Instant) {
        let slots = self.to_close();
        let Some((folder, shelf)) = self.spill.finish() else {
            return;
        };
        let held = slots.into_iter().filter_map(|slot| {
            let bytes = self.slots.save(&self.backend, slot)?;
            let tokens = self.slots.held(slot).to_vec();
            Some(State { tokens, bytes })
        });
        held.chain(shelf)
            .take_while(|_| Instant::now() < deadline)
            .for_each(|state| folder.write(&state));
    }

    /// The slots whose contents are worth a file, the most recently used first, each content once.
    fn to_close(&self) -> Vec<usize> {
        let mut slots: Vec<usize> = (0..self.running.len()).collect();
        slots.retain(|&slot| self.is_new(slot));
        slots.sort_by_key(|&slot| Reverse(self.slots.len(slot)));
        let mut kept: Vec<usize> = Vec::new();
        for slot in slots {
            if !kept.iter().any(|&longer| self.covers(longer, slot)) {
                kept.push(slot);
            }
        }
        kept.sort_by_key(|&slot| Reverse(self.slots.last_used(slot)));
        kept
    }
}
