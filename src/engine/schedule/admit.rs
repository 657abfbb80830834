//! Admits sequences from the queue into slots.

use std::time::Instant;

use super::ledger::Ledger;
use super::offers::{LEAST, Offer, Offers, Place};
use super::prefix::{self, Choice, View};
use super::sequence::{Follows, Sequence};
use super::state::State;
use crate::protocol::{Priority, Token};

/// How many sequences per slot may overtake the first one in the queue while it does not fit: so a long
/// prompt does not block short ones, and is not delayed forever.
const PASSES_PER_SLOT: usize = 4;

/// How many idle slots may be emptied for a kept prefix that does not fit: only the backend counts the
/// cells of sliding-window layers.
const N_SPARE: usize = 2;

/// The slots and cells that the running sequences leave.
struct Room<'a> {
    has_slot: bool,
    n_taken: usize,
    n_pool: usize,
    /// The tokens of the running sequences; prompts share prefixes with them.
    running: Vec<&'a [Token]>,
}

impl<'a> Room<'a> {
    fn of<S>(
        running: &'a [Option<Sequence<S>>],
        slots: &Ledger,
        has_begun: bool,
        n_pool: usize,
    ) -> Self {
        let busy = || {
            running
                .iter()
                .enumerate()
                .filter_map(|(slot, s)| Some((slot, s.as_ref()?)))
        };
        let held: Vec<usize> = busy().map(|(slot, _)| slot).collect();
        let missing = busy().map(|(slot, sequence)| sequence.n_missing(slots.len(slot)));
        Self {
            has_slot: held.len() + usize::from(has_begun) < running.len(),
            n_taken: slots.n_cells(&held) + missing.sum::<usize>(),
            n_pool,
            running: busy().map(|(_, sequence)| &sequence.tokens[..]).collect(),
        }
    }

    /// Whether a slot is free and the pool has room for all running sequences, this one included, and for some
    /// output. If nothing runs, a sequence always fits: there is nothing to wait for.
    fn fits<S>(&self, next: &Sequence<S>) -> bool {
        if !self.has_slot || self.running.is_empty() {
            return self.has_slot;
        }
        let running = self.running.iter();
        let shared = running
            .map(|tokens| prefix::reusable(&next.tokens, tokens).min(next.n_reusable()))
            .max();
        let output = next.n_left().min(self.n_pool / 8);
        let wanted = (next.tokens.len() + output).min(next.n_ctx);
        self.n_taken + wanted.saturating_sub(shared.unwrap_or(0)) <= self.n_pool
    }
}

impl<S> State<S> {
    /// Gives slots to waiting sequences, in their order, while there is room.
    ///
    /// If the first one does not fit, a few that fit may overtake it; then the rest wait for it. Interactive
    /// requests preempt batch jobs, which continue later.
    pub(super) fn admit(&mut self, offers: &dyn Offers, now: Instant) {
        let n_pool = self.facts.n_pool;
        let has_begun = self.embeddings.begun_in().is_some();
        while let Some((priority, next)) = self.waiting.next() {
            let room = Room::of(&self.running, &self.ledger, has_begun, n_pool);
            if !room.fits(next) {
                let victim = match priority {
                    Priority::Interactive => self.pausable_job(),
                    Priority::Batch => None,
                };
                let Some(slot) = victim else {
                    self.pass(priority, offers, now);
                    break;
                };
                self.preempt(slot);
                continue;
            }
            let Some(mut sequence) = self.waiting.pop() else {
                break;
            };
            self.n_passes = 0;
            let waits = self.waiting.has_interactive();
            sequence.is_protected |= priority == Priority::Batch && waits;
            self.place(sequence, offers, now);
        }
    }

    /// Starts sequences that fit ahead of the queue's first one, whose class is `first`. A batch job does not
    /// overtake an interactive request, which would preempt it at once.
    fn pass(&mut self, first: Priority, offers: &dyn Offers, now: Instant) {
        let n_pool = self.facts.n_pool;
        let has_begun = self.embeddings.begun_in().is_some();
        while self.n_passes < PASSES_PER_SLOT * self.running.len() {
            let room = Room::of(&self.running, &self.ledger, has_begun, n_pool);
            if !room.has_slot {
                return;
            }
            let Some(sequence) = self
                .waiting
                .pop_where(|next| next.priority() <= first && room.fits(next))
            else {
                return;
            };
            self.n_passes += 1;
            self.place(sequence, offers, now);
        }
    }

    /// The youngest batch job that an interactive request may preempt.
    fn pausable_job(&self) -> Option<usize> {
        self.youngest(|sequence| sequence.priority() == Priority::Batch && !sequence.is_protected)
    }

    /// The slot of the youngest running sequence of the lowest class.
    pub(super) fn youngest(&self, wanted: impl Fn(&Sequence<S>) -> bool) -> Option<usize> {
        let running = self.running.iter().enumerate();
        let candidates = running.filter_map(|(slot, sequence)| {
            let sequence = sequence.as_ref().filter(|sequence| wanted(sequence))?;
            Some((sequence.seniority(), slot))
        });
        candidates.max().map(|(_, slot)| slot)
    }

    /// Preempts a running sequence: it goes back to the queue. Its cells stay until they are needed; lost cells
    /// are computed again.
    pub(super) fn preempt(&mut self, slot: usize) {
        if let Some(mut sequence) = self.release(slot) {
            sequence.follows = None;
            sequence.awaits_fetch = false;
            self.counters.n_preempted += 1;
            tracing::debug!(id = sequence.id, "sequence paused to make room");
            self.waiting.put_back(sequence.priority(), sequence);
        }
    }

    fn views(&self, sequence: &Sequence<S>) -> Vec<View> {
        let view = |slot| {
            let held = self.ledger.held(slot);
            let n_common = prefix::reusable(&sequence.tokens, held).min(sequence.n_reusable());
            let fits = n_common == held.len() || self.ledger.can_cut(slot, n_common);
            View {
                slot,
                n_common,
                n_reuse: if fits { n_common } else { 0 },
                n_held: held.len(),
                is_busy: !self.is_idle(slot),
                is_parked: self.ledger.is_parked(slot),
                last_used: self.ledger.last_used(slot),
            }
        };
        (0..self.running.len()).map(view).collect()
    }

    /// Starts a sequence in the slot that leaves it the least to compute.
    fn place(&mut self, mut sequence: Sequence<S>, offers: &dyn Offers, now: Instant) {
        let views = self.views(&sequence);
        let Some(choice) = prefix::choose(sequence.tokens.len(), &views) else {
            self.waiting.put_back(sequence.priority(), sequence);
            return;
        };
        let may_share = !sequence.tells_prompt();
        let offer = offers.find(&sequence.tokens).filter(|_| may_share);
        let offer = offer.filter(|offer| offer.n_reuse >= choice.n_reuse + LEAST);
        let choice = match offer {
            Some(offer) if offer.place == Place::Memory => self.load(choice.slot, offer),
            Some(offer) => {
                sequence.awaits_fetch = true;
                self.fetch(offer);
                self.reuse(choice)
            }
            None => self.reuse(choice),
        };
        self.ledger.set_parked(choice.slot, false);
        self.ledger.cut(choice.slot, choice.n_reuse);
        sequence.clock.admitted.get_or_insert(now);
        let n_cached = self.ledger.len(choice.slot);
        if may_share && !sequence.awaits_fetch {
            sequence.follows = self.leader(&sequence, n_cached);
        }
        if self.facts.is_windowed && sequence.n_generated == 0 {
            let n_common = views.iter().map(|view| view.n_common).max().unwrap_or(0);
            sequence.boundaries = prefix::boundaries(&sequence.tokens, n_cached, n_common);
            self.stop_leader(sequence.follows);
        }
        if !sequence.is_held_up() {
            self.counters.n_cached += sequence.clock.note_cached(n_cached);
        }
        self.ledger.touch(choice.slot);
        self.running[choice.slot] = Some(sequence);
    }

    fn fetch(&mut self, offer: Offer<'_>) {
        if offer.place == Place::File && self.fetch.iter().all(|tokens| tokens != offer.tokens) {
            self.fetch.push(offer.tokens.to_vec());
        }
    }

    /// Resumes sequences whose prefix has been fetched, or cannot be.
    pub(super) fn take_fetched(&mut self, offers: &dyn Offers) {
        for slot in 0..self.running.len() {
            let sequence = self.running[slot].as_ref().filter(|s| s.awaits_fetch);
            let Some(sequence) = sequence else {
                continue;
            };
            let n_held = self.ledger.len(slot);
            let offer = offers.find(&sequence.tokens);
            match offer.filter(|offer| offer.n_reuse >= n_held + LEAST) {
                Some(offer) if offer.place == Place::Memory => {
                    let choice = self.load(slot, offer);
                    self.ledger.cut(slot, choice.n_reuse);
                }
                Some(offer) => {
                    self.fetch(offer);
                    continue;
                }
                None => {}
            }
            let n_cached = self.ledger.len(slot);
            if let Some(sequence) = self.running[slot].as_mut() {
                sequence.awaits_fetch = false;
                self.counters.n_cached += sequence.clock.note_cached(n_cached);
            }
        }
    }

    /// Fills a slot with a prefix from the host cache.
    fn load(&mut self, slot: usize, offer: Offer<'_>) -> Choice {
        let n_left = prefix::common_prefix(self.ledger.held(slot), offer.tokens);
        self.save_prefix(slot, n_left);
        self.ledger.clear(slot);
        let every: Vec<usize> = (0..self.running.len()).collect();
        let n_most = self.facts.n_pool.saturating_sub(offer.tokens.len());
        while self.ledger.n_cells(&every) > n_most && self.evict_idle() {}
        let mut spare = self.spare_slots();
        spare.retain(|&other| other != slot);
        spare.truncate(N_SPARE);
        let can_cut = !self.facts.is_windowed;
        self.ledger.load(slot, offer.tokens, &spare, can_cut);
        Choice {
            slot,
            copy_from: None,
            n_reuse: offer.n_reuse,
        }
    }

    /// Gives the chosen slot the prefix that the prompt reuses.
    fn reuse(&mut self, choice: Choice) -> Choice {
        if let Some(from) = choice.copy_from {
            self.save_prefix(choice.slot, 0);
            self.ledger.copy(from, choice.slot);
            self.ledger.touch(from);
        } else if choice.n_reuse * 2 < self.ledger.len(choice.slot) {
            // Otherwise the same conversation continues, and what it drops is not needed again.
            self.save_prefix(choice.slot, choice.n_reuse);
        }
        choice
    }

    /// An older sequence that is evaluating a long prefix of this prompt. Only older ones, so that there is
    /// no cycle of waiting sequences.
    fn leader(&self, sequence: &Sequence<S>, n_cached: usize) -> Option<Follows> {
        let candidates = self.running.iter().flatten().filter(|leader| {
            // A job's prompt may have to wait for interactive requests.
            let is_older = leader.seniority() < sequence.seniority()
                && leader.priority() <= sequence.priority();
            is_older && leader.n_generated == 0 && leader.follows.is_none()
        });
        let waits = candidates.filter_map(|leader| {
            let n_tokens = prefix::worth_waiting(&sequence.tokens, &leader.tokens, n_cached)?;
            Some(Follows {
                id: leader.id,
                n_tokens,
            })
        });
        waits.max_by_key(|follows| follows.n_tokens)
    }

    /// Resumes sequences whose leader has evaluated the common prefix, or no longer will.
    pub(super) fn join_leaders(&mut self) {
        for slot in 0..self.running.len() {
            let Some(follows) = self.running[slot].as_ref().and_then(|s| s.follows) else {
                continue;
            };
            let leader = self.running.iter().position(|running| {
                let leader = running.as_ref();
                leader.is_some_and(|leader| leader.id == follows.id)
            });
            let is_coming = leader.is_some_and(|leader| {
                let evaluates = |s: &Sequence<S>| s.n_generated == 0;
                self.running[leader].as_ref().is_some_and(evaluates)
                    && self.ledger.len(leader) < follows.n_tokens
            });
            if !is_coming {
                self.join(slot, leader);
            }
        }
    }

    fn join(&mut self, slot: usize, leader: Option<usize>) {
        let Some(sequence) = self.running[slot].as_mut() else {
            return;
        };
        sequence.follows = None;
        if let Some(leader) = leader {
            let n_reuse = prefix::reusable(&sequence.tokens, self.ledger.held(leader));
            let fits = self.ledger.len(leader) == n_reuse || self.ledger.can_cut(leader, n_reuse);
            if fits && n_reuse > self.ledger.len(slot) {
                self.ledger.copy(leader, slot);
                self.ledger.cut(slot, n_reuse);
            }
        }
        let n_cached = self.ledger.len(slot);
        self.counters.n_cached += sequence.clock.note_cached(n_cached);
    }
}
