//! Copies of beginnings, for memories that cannot go back to them later (sliding windows, recurrent
//! state): taken while the evaluation of a prompt stops there ([`prefix_cache::boundaries`]).
//!
//! Idle slots keep them. That costs no memory of its own, and a conversation that needs a slot gets
//! it.
//!
//! [`prefix_cache::boundaries`]: super::prefix_cache::boundaries

use super::backend::Backend;
use super::core::Engine;
use super::sequence::Follows;

impl<B: Backend> Engine<B> {
    /// Lets a leader stop where its follower takes over: later it could not be cut back to there.
    pub(super) fn stop_leader(&mut self, follows: Option<Follows>) {
        let Some(Follows { id, n_tokens }) = follows else {
            return;
        };
        let mut running = self.running.iter_mut().flatten();
        if let Some(leader) = running.find(|sequence| sequence.id == id)
            && let Err(place) = leader.boundaries.binary_search(&n_tokens)
        {
            leader.boundaries.insert(place, n_tokens);
        }
    }

    /// Keeps copies of what has just reached a boundary. Idle slots take them that are empty or
    /// hold another copy; nobody's conversation goes for it.
    pub(super) fn park(&mut self, slots: &[usize]) {
        for &slot in slots {
            let n_held = self.slots.len(slot);
            let stops = self.running[slot]
                .as_ref()
                .is_some_and(|sequence| sequence.boundaries.contains(&n_held));
            if stops {
                self.park_copy(slot);
            }
        }
    }

    fn park_copy(&mut self, slot: usize) {
        let idle = |&other: &usize| self.is_idle(other);
        let all = || (0..self.running.len()).filter(idle);
        let mut same = all().filter(|&other| self.slots.held(other) == self.slots.held(slot));
        if let Some(known) = same.next() {
            self.slots.touch(known);
            return;
        }
        let free = all().filter(|&other| self.slots.is_parked(other) || self.slots.len(other) == 0);
        let target =
            free.min_by_key(|&other| (self.slots.len(other) > 0, self.slots.last_used(other)));
        if let Some(target) = target {
            self.slots.copy(&mut self.backend, slot, target);
            self.tally.n_parked += 1;
            self.slots.set_parked(target, true);
            self.slots.touch(target);
        }
    }
}
