//! The ledger of the KV cache: which slot holds the cells of which tokens.
//!
//! A slot is one sequence of the pool. The ledger changes immediately and records the operations for the
//! backend ([`CacheOp`]); the executor applies them in order before it computes. So plans depend on the
//! ledger alone.
//!
//! *Invariant:* `shared` is symmetric: two slots share exactly the cells of their first
//! `shared` positions.

use super::plan::CacheOp;
use crate::engine::media;
use crate::engine::row::{Row, SeqId};
use crate::engine::units::to_u32;
use crate::protocol::Token;

/// All slots of one context.
#[derive(Debug)]
pub(in crate::engine) struct Ledger {
    slots: Vec<Slot>,
    /// Counts uses, to find the least recently used slot.
    uses: u64,
    /// The operations that the backend has not applied yet.
    ops: Vec<CacheOp>,
}

#[derive(Debug)]
struct Slot {
    /// The token of every cell, in order.
    held: Vec<Token>,
    /// How many of these tokens take no position of their own (parts of images).
    n_still: usize,
    /// For every other slot, how many first positions lie in the same cells.
    shared: Vec<usize>,
    last_used: u64,
    /// Parked: a copy of a prefix, kept because its original has continued and cannot be rolled back.
    is_parked: bool,
    /// The fewest positions to which the backend can roll it back, apart from zero.
    floor: u32,
}

impl Ledger {
    pub(in crate::engine) fn new(n_slots: usize) -> Self {
        let slot = || Slot {
            held: Vec::new(),
            n_still: 0,
            shared: vec![0; n_slots],
            last_used: 0,
            is_parked: false,
            floor: 0,
        };
        Self {
            slots: std::iter::repeat_with(slot).take(n_slots).collect(),
            uses: 0,
            ops: Vec::new(),
        }
    }

    /// Takes the operations for the backend, in order.
    pub(in crate::engine) fn take_ops(&mut self) -> Vec<CacheOp> {
        std::mem::take(&mut self.ops)
    }

    /// The tokens in a slot's cells.
    pub(in crate::engine) fn held(&self, slot: usize) -> &[Token] {
        &self.slots[slot].held
    }

    pub(in crate::engine) fn len(&self, slot: usize) -> usize {
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
    pub(in crate::engine) fn record(&mut self, rows: &[Row]) {
        for row in rows {
            self.slots[row.seq as usize].held.push(row.token);
        }
    }

    /// Records tokens that were evaluated.
    pub(super) fn extend(&mut self, slot: usize, tokens: impl IntoIterator<Item = Token>) {
        self.slots[slot].held.extend(tokens);
    }

    /// Records an image that was evaluated.
    pub(super) fn record_media(&mut self, slot: usize, tokens: &[Token]) {
        let slot = &mut self.slots[slot];
        slot.held.extend_from_slice(tokens);
        slot.n_still += media::n_still(tokens);
    }

    /// Records how far slots can be rolled back, as reported by the backend after a call.
    pub(in crate::engine) fn set_floors(&mut self, floors: &[u32]) {
        for (slot, floor) in self.slots.iter_mut().zip(floors) {
            slot.floor = *floor;
        }
    }

    /// The position of a slot's next token.
    pub(super) fn next_position(&self, slot: usize) -> u32 {
        self.position(slot, self.len(slot))
    }

    /// The position of the token at index `place`.
    fn position(&self, slot: usize, place: usize) -> u32 {
        let Slot { held, n_still, .. } = &self.slots[slot];
        // Almost always there are no images, and nothing has to be counted.
        let n_after = if *n_still == 0 {
            0
        } else {
            media::n_still(&held[place..])
        };
        to_u32(place - (n_still - n_after))
    }

    /// Whether a slot can be rolled back to its first `len` tokens.
    pub(super) fn can_cut(&self, slot: usize, len: usize) -> bool {
        len == 0 || len >= self.len(slot) || self.position(slot, len) >= self.slots[slot].floor
    }

    /// Keeps the first `len` tokens, or none if the memory cannot be cut there.
    pub(in crate::engine) fn cut(&mut self, slot: usize, len: usize) {
        if len >= self.len(slot) {
            return;
        }
        let len = if self.can_cut(slot, len) { len } else { 0 };
        self.ops.push(match len {
            0 => CacheOp::Clear { seq: seq(slot) },
            len => CacheOp::Cut {
                seq: seq(slot),
                from: self.position(slot, len),
            },
        });
        self.forget(slot, len);
    }

    /// Empties a slot.
    pub(in crate::engine) fn clear(&mut self, slot: usize) {
        self.cut(slot, 0);
    }

    /// Empties a slot whose cells may be in any state, because a call has failed.
    pub(super) fn reset(&mut self, slot: usize) {
        self.ops.push(CacheOp::Clear { seq: seq(slot) });
        self.forget(slot, 0);
    }

    /// Notes that the backend has emptied a slot.
    pub(in crate::engine) fn lose(&mut self, slot: usize) {
        self.forget(slot, 0);
    }

    fn forget(&mut self, slot: usize, len: usize) {
        let one = &mut self.slots[slot];
        one.n_still -= media::n_still(&one.held[len..]);
        one.held.truncate(len);
        one.is_parked &= len > 0;
        if len == 0 {
            one.floor = 0;
        }
        self.limit_sharing(slot, len);
    }

    /// Makes `to` a copy of `from` that shares its cells.
    pub(in crate::engine) fn copy(&mut self, from: usize, to: usize) {
        self.clear(to);
        let held = self.slots[from].held.clone();
        let len = held.len();
        // The whole sequence: a windowed or recurrent memory has no earlier state to share.
        self.ops.push(CacheOp::Copy {
            from: seq(from),
            to: seq(to),
            len: self.next_position(from),
        });
        self.slots[to].held = held;
        self.slots[to].n_still = self.slots[from].n_still;
        self.slots[to].floor = self.slots[from].floor;
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

    /// Saves what a slot's cells hold to the host cache.
    pub(super) fn save(&mut self, slot: usize) {
        let (seq, tokens) = (seq(slot), self.held(slot).to_vec());
        self.ops.push(CacheOp::Save { seq, tokens });
    }

    /// Fills an empty slot from the host cache. If it does not fit, the idle slots in `spare` may be emptied
    /// for it, one after the other. With `can_cut` the slot can be cut back anywhere afterwards.
    pub(super) fn load(&mut self, slot: usize, tokens: &[Token], spare: &[usize], can_cut: bool) {
        let one = &mut self.slots[slot];
        one.held = tokens.to_vec();
        one.n_still = media::n_still(tokens);
        let n_positions = to_u32(tokens.len() - one.n_still);
        one.floor = if can_cut { 0 } else { n_positions };
        self.ops.push(CacheOp::Load {
            seq: seq(slot),
            tokens: tokens.to_vec(),
            n_positions,
            spare: spare.iter().copied().map(seq).collect(),
        });
    }

    /// Drops the tokens `from..to` and moves the rest down. The cells that move must not be shared
    /// ([`Self::sharers`]), because a cell has one position only. Not for slots with images.
    pub(super) fn drop_middle(&mut self, slot: usize, from: usize, to: usize) {
        self.ops.push(CacheOp::Shift {
            seq: seq(slot),
            from: to_u32(from),
            to: to_u32(to),
        });
        self.slots[slot].held.drain(from..to);
        self.limit_sharing(slot, from);
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
    pub(in crate::engine) fn n_cells(&self, slots: &[usize]) -> usize {
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

/// The backend's sequence number for a slot.
pub(in crate::engine) fn seq(slot: usize) -> SeqId {
    to_u32(slot)
}
