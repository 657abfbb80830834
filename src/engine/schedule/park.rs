//! Copies of prefixes, for memories that cannot be rolled back later (sliding windows, recurrent state): made
//! while the prefill pauses there ([`prefix::boundaries`]).
//!
//! Idle slots hold them. That costs no extra memory, and a conversation that needs a slot gets it.
//!
//! [`prefix::boundaries`]: super::prefix::boundaries

use super::sequence::Follows;
use super::state::State;

impl<S> State<S> {
    /// Makes a leader pause where its follower takes over: later it could not be cut back to there.
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

    /// Parks a copy of a sequence that has reached a boundary, in an idle slot that is empty or holds
    /// another copy; never in place of a conversation.
    pub(super) fn park(&mut self, slot: usize) {
        let n_held = self.ledger.len(slot);
        let stops = self.running[slot]
            .as_ref()
            .is_some_and(|sequence| sequence.boundaries.contains(&n_held));
        if stops {
            self.park_copy(slot);
        }
    }

    fn park_copy(&mut self, slot: usize) {
        let idle = |&other: &usize| self.is_idle(other);
        let all = || (0..self.running.len()).filter(idle);
        let mut same = all().filter(|&other| self.ledger.held(other) == self.ledger.held(slot));
        if let Some(known) = same.next() {
            self.ledger.touch(known);
            return;
        }
        let free =
            all().filter(|&other| self.ledger.is_parked(other) || self.ledger.len(other) == 0);
        let target =
            free.min_by_key(|&other| (self.ledger.len(other) > 0, self.ledger.last_used(other)));
        if let Some(target) = target {
            self.ledger.copy(slot, target);
            self.counters.n_parked += 1;
            self.ledger.set_parked(target, true);
            self.ledger.touch(target);
        }
    }
}
