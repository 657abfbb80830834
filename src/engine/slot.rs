//! Slots: the KV sequences of the pool, and the tokens whose cells they hold.
//!
//! The owner of the question "who holds which cells". Every change of the backend's cache goes
//! through here, so that the record and the cache cannot part.
//!
//! *Invariant:* `shared` is symmetric: two slots share exactly the cells of their first
//! `shared` positions.

use super::backend::{Backend, Row, SeqId};
use super::media;
use super::spill::State;
use super::to_u32;
use crate::protocol::Token;

/// All slots of one context.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Counts uses, for the least recently used one.
    uses: u64,
}

#[derive(Debug)]
struct Slot {
    /// The token of every cell, in order.
    held: Vec<Token>,
    /// How many of them take no position of their own (parts of images).
    n_still: usize,
    /// For every other slot, how many first positions lie in the same cells.
    shared: Vec<usize>,
    last_used: u64,
    /// Nobody's: a copy of a beginning, kept because its original has run on and cannot go back.
    is_parked: bool,
}

impl Slots {
    pub(super) fn new(n_slots: usize) -> Self {
        let slot = || Slot {
            held: Vec::new(),
            n_still: 0,
            shared: vec![0; n_slots],
            last_used: 0,
            is_parked: false,
        };
        Self {
            slots: std::iter::repeat_with(slot).take(n_slots).collect(),
            uses: 0,
        }
    }

    /// The tokens in a slot's cells.
    pub(super) fn held(&self, slot: usize) -> &[Token] {
        &self.slots[slot].held
    }

    pub(super) fn len(&self, slot: usize) -> usize {
        self.slots[slot].held.len()
    }

    pub(super) fn is_parked(&self, slot: usize) -> bool {
        self.slots[slot].is_parked
    }

    pub(super) fn set_parked(&mut self, slot: usize, is_parked: bool) {
        self.slots[slot].is_parked = is_parked;
    }

    /// When a slot was last used, as a number that only grows.
    pub(super) fn last_used(&self, slot: usize) -> u64 {
        self.slots[slot].last_used
    }

    /// Marks a slot as the most recently used one.
    pub(super) fn touch(&mut self, slot: usize) {
        self.uses += 1;
        self.slots[slot].last_used = self.uses;
    }

    /// Records rows that were decoded.
    pub(super) fn record(&mut self, rows: &[Row]) {
        for row in rows {
            self.slots[row.seq as usize].held.push(row.token);
        }
    }

    /// Records an image that was evaluated.
    pub(super) fn record_media(&mut self, slot: usize, tokens: &[Token]) {
        let slot = &mut self.slots[slot];
        slot.held.extend_from_slice(tokens);
        slot.n_still += media::n_still(tokens);
    }

    /// The position at which a slot goes on.
    pub(super) fn next_position(&self, slot: usize) -> u32 {
        self.position(slot, self.len(slot))
    }

    /// The position of the token at that place.
    fn position(&self, slot: usize, place: usize) -> u32 {
        let Slot { held, n_still, .. } = &self.slots[slot];
        // Without images, as almost always, nothing has to be counted.
        let n_behind = if *n_still == 0 {
            0
        } else {
            media::n_still(&held[place..])
        };
        to_u32(place - (n_still - n_behind))
    }

    /// Whether a slot can be cut back to its first `len` tokens.
    pub(super) fn can_cut<B: Backend>(&self, backend: &B, slot: usize, len: usize) -> bool {
        backend.can_cut(seq(slot), self.position(slot, len))
    }

    /// Keeps the first `len` tokens; where the memory cannot be cut there, none.
    pub(super) fn cut<B: Backend>(&mut self, backend: &mut B, slot: usize, len: usize) {
        if len >= self.len(slot) {
            return;
        }
        let cut = len > 0 && backend.remove(seq(slot), self.position(slot, len), None);
        let len = if cut { len } else { 0 };
        if !cut {
            // Dropping a whole sequence is something that every memory can do.
            backend.remove(seq(slot), 0, None);
        }
        let one = &mut self.slots[slot];
        one.n_still -= media::n_still(&one.held[len..]);
        one.held.truncate(len);
        one.is_parked &= len > 0;
        self.limit_sharing(slot, len);
    }

    /// Empties a slot.
    pub(super) fn clear<B: Backend>(&mut self, backend: &mut B, slot: usize) {
        self.cut(backend, slot, 0);
    }

    /// Makes `to` a copy of `from` that shares its cells.
    pub(super) fn copy<B: Backend>(&mut self, backend: &mut B, from: usize, to: usize) {
        self.clear(backend, to);
        let held = self.slots[from].held.clone();
        let len = held.len();
        // The whole sequence: a windowed or recurrent memory has no earlier state to share.
        backend.copy(seq(from), seq(to), self.next_position(from));
        self.slots[to].held = held;
        self.slots[to].n_still = self.slots[from].n_still;
        for other in 0..self.slots.len() {
            let shared = if other == from {
                len
            } else {
                self.slots[from].shared[other]
            };
            if other != to {
                self.slots[to].shared[other] = shared;
                self.slots[other].shared[to] = shared;
            }
        }
    }

    /// What a slot's cells hold, for [`Self::load`]; `None` if the memory cannot say.
    pub(super) fn save<B: Backend>(&self, backend: &B, slot: usize) -> Option<Vec<u8>> {
        backend.save(seq(slot))
    }

    /// Fills an empty slot with a state. False when it has no room or cannot be read; then the slot
    /// is still empty.
    pub(super) fn load<B: Backend>(&mut self, backend: &mut B, slot: usize, state: &State) -> bool {
        let n_still = media::n_still(&state.tokens);
        let n_positions = to_u32(state.tokens.len() - n_still);
        if !backend.load(seq(slot), &state.bytes, n_positions) {
            backend.remove(seq(slot), 0, None);
            return false;
        }
        self.slots[slot].held.clone_from(&state.tokens);
        self.slots[slot].n_still = n_still;
        true
    }

    /// Drops the tokens `from..to` and moves the rest down. False when the memory cannot do that;
    /// then nothing was changed. What moves must not be shared ([`Self::sharers`]), because a cell
    /// has one position only. Not for slots with images.
    pub(super) fn drop_middle<B: Backend>(
        &mut self,
        backend: &mut B,
        slot: usize,
        from: usize,
        to: usize,
    ) -> bool {
        if !backend.remove(seq(slot), to_u32(from), Some(to_u32(to))) {
            return false;
        }
        let delta = i32::try_from(to - from).map_or(i32::MIN, |n| -n);
        backend.shift(seq(slot), to_u32(to), delta);
        self.slots[slot].held.drain(from..to);
        self.limit_sharing(slot, from);
        true
    }

    /// The slots that share more than the first `len` positions with this one.
    pub(super) fn sharers(&self, slot: usize, len: usize) -> Vec<usize> {
        let shared = self.slots[slot].shared.iter().enumerate();
        shared
            .filter(|&(other, &shared)| other != slot && shared > len)
            .map(|(other, _)| other)
            .collect()
    }

    /// Cells that these slots hold together, shared ones counted once.
    pub(super) fn n_cells(&self, slots: &[usize]) -> usize {
        let own = |(index, &slot): (usize, &usize)| {
            let earlier = slots[..index].iter();
            let shared = earlier.map(|&other| self.slots[slot].shared[other]).max();
            self.len(slot) - shared.unwrap_or(0)
        };
        slots.iter().enumerate().map(own).sum()
    }

    fn limit_sharing(&mut self, slot: usize, len: usize) {
        for other in 0..self.slots.len() {
            let shared = self.slots[slot].shared[other].min(len);
            self.slots[slot].shared[other] = shared;
            self.slots[other].shared[slot] = shared;
        }
    }
}

/// The backend's number of a slot.
pub(super) fn seq(slot: usize) -> SeqId {
    to_u32(slot)
}
