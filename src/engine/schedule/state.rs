//! The state of the schedule: waiting and running sequences, and the content of the cache.
//!
//! Pure: no backend, no clock, no channel. [`State::plan`] decides what to do next, the executor does it,
//! and [`State::commit`] takes the outcome. The same requests, outcomes and times give the same plans and
//! events.

use std::collections::HashSet;
use std::time::Instant;

use super::batch::Budget;
use super::embedding::{EmbedJob, Embeddings};
use super::ledger::Ledger;
use super::sequence::Sequence;
use super::step_times::StepTimes;
use crate::engine::units::to_u32;
use crate::fair_queue::FairQueue;
use crate::protocol::{
    Event, Failure, LoadedInfo, Priority, RequestId, Speculation, Token, Update,
};

/// What the schedule knows of a loaded model.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Facts {
    pub(in crate::engine) n_slots: usize,
    /// Cells of the KV cache.
    pub(in crate::engine) n_pool: usize,
    /// Most rows of a decode call.
    pub(in crate::engine) n_batch: usize,
    /// Most rows of a decode call from which tokens are sampled.
    pub(in crate::engine) n_outputs: usize,
    pub(in crate::engine) on_gpu: bool,
    /// Positions can be moved.
    pub(in crate::engine) can_shift: bool,
    /// Every text begins with a BOS token.
    pub(in crate::engine) add_bos: bool,
    /// A sequence that has run on cannot be cut back everywhere (sliding windows, recurrent state).
    pub(in crate::engine) is_windowed: bool,
    /// A call that has only rows of batch jobs is interrupted when an interactive request arrives.
    pub(in crate::engine) is_interruptible: bool,
    /// The context is made for embeddings and has no logits.
    pub(in crate::engine) is_embedding: bool,
    pub(in crate::engine) speculation: Speculation,
    /// Drafts are made by a model that the user chose.
    pub(in crate::engine) has_draft_model: bool,
    /// Prefixes that lose their cells are kept in the host cache.
    pub(in crate::engine) has_host_cache: bool,
}

impl Facts {
    /// The facts of a model without a draft model and a host cache.
    pub(in crate::engine) fn of(info: &LoadedInfo, n_batch: usize, n_outputs: usize) -> Self {
        Self {
            n_slots: info.n_slots.max(1) as usize,
            n_pool: info.n_ctx_pool as usize,
            n_batch: n_batch.max(1),
            n_outputs,
            on_gpu: info.vram_bytes > 0,
            can_shift: info.can_shift,
            add_bos: info.add_bos,
            is_windowed: false,
            is_interruptible: false,
            is_embedding: false,
            speculation: Speculation::Off,
            has_draft_model: false,
            has_host_cache: false,
        }
    }

    /// Most rows of a batch of inputs.
    pub(in crate::engine) fn n_largest_batch(&self) -> usize {
        self.n_batch.clamp(1, self.n_pool.max(1))
    }
}

/// A prepared request, ready for the schedule.
#[derive(Debug)]
pub(in crate::engine) enum Prepared<S> {
    Generation(Box<Sequence<S>>),
    Embedding(EmbedJob),
}

impl<S> Prepared<S> {
    pub(in crate::engine) fn priority(&self) -> Priority {
        match self {
            Self::Generation(sequence) => sequence.priority(),
            Self::Embedding(job) => job.priority(),
        }
    }
}

/// Counts for the daemon's metrics.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) n_cached: usize,
    pub(super) n_generated: usize,
    pub(super) n_drafted: usize,
    pub(super) n_accepted: usize,
    pub(super) n_evicted: usize,
    pub(super) n_parked: usize,
    pub(super) n_preempted: usize,
    pub(super) n_saved: usize,
    pub(super) n_loaded: usize,
}

/// What the next plan does differently because a call found no room.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// No admission until a call has found room: freed cells are for running sequences.
    pub(super) is_full: bool,
    /// Most prefill rows.
    pub(super) n_prefill: Option<usize>,
    pub(super) without_drafts: bool,
}

/// The running sequence of each slot.
pub(in crate::engine) type Running<S> = Vec<Option<Sequence<S>>>;

/// The state of the schedule; `S` is a sequence's sampler state, which belongs to the executor.
#[derive(Debug)]
pub(in crate::engine) struct State<S> {
    pub(in crate::engine) facts: Facts,
    pub(in crate::engine) ledger: Ledger,
    pub(in crate::engine) running: Running<S>,
    pub(in crate::engine) waiting: FairQueue<Sequence<S>>,
    pub(in crate::engine) embeddings: Embeddings,
    pub(in crate::engine) budget: Budget,
    /// How long calls without prefill take.
    pub(in crate::engine) step_times: StepTimes,
    /// What has happened since the last report.
    pub(super) counters: Counters,
    pub(super) updates: Vec<Update>,
    pub(in crate::engine) events: Vec<Event>,
    /// Prefixes of the host cache to fetch from their files.
    pub(super) fetch: Vec<Vec<Token>>,
    /// Slots whose text no longer matches what the drafter knows.
    pub(super) forgotten: Vec<usize>,
    pub(super) retry: Retry,
    n_arrived: u64,
    /// Sequences that have overtaken the current first one in the queue.
    pub(super) n_passes: usize,
    /// Decode calls so far: they decide whose turn it is when sequences do not decode together.
    pub(super) n_calls: usize,
    /// When an interactive request last ran or waited.
    pub(super) last_person: Option<Instant>,
}

impl<S> State<S> {
    pub(in crate::engine) fn new(facts: Facts) -> Self {
        Self {
            ledger: Ledger::new(facts.n_slots),
            running: std::iter::repeat_with(|| None)
                .take(facts.n_slots)
                .collect(),
            waiting: FairQueue::default(),
            embeddings: Embeddings::default(),
            budget: Budget::new(facts.n_batch, facts.on_gpu),
            step_times: StepTimes::default(),
            counters: Counters::default(),
            updates: Vec::new(),
            events: Vec::new(),
            fetch: Vec::new(),
            forgotten: Vec::new(),
            retry: Retry::default(),
            n_arrived: 0,
            n_passes: 0,
            n_calls: 0,
            last_person: None,
            facts,
        }
    }

    /// Whether a step would do something.
    pub(in crate::engine) fn has_work(&self) -> bool {
        self.is_running() || !self.waiting.is_empty() || !self.embeddings.is_empty()
    }

    /// Takes the pending events, in order.
    pub(in crate::engine) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Adds a prepared request.
    pub(in crate::engine) fn enter(&mut self, prepared: Prepared<S>) {
        match prepared {
            Prepared::Generation(mut sequence) => {
                self.n_arrived += 1;
                sequence.order = self.n_arrived;
                self.events.push(Event::Started {
                    id: sequence.id,
                    n_prompt: to_u32(sequence.n_prompt),
                    is_cut: sequence.is_cut,
                });
                let client = sequence.params.client.clone();
                self.waiting.push(sequence.priority(), &client, *sequence);
            }
            Prepared::Embedding(job) => self.embeddings.push(job),
        }
    }

    /// Answers a ping.
    pub(in crate::engine) fn pong(&mut self, id: RequestId) {
        self.events.push(Event::Pong { id });
    }

    /// Reports how many requests are ahead of a waiting one.
    pub(in crate::engine) fn tell_place(&mut self, id: RequestId, of: RequestId) {
        let n_before = self.waiting.n_before(|sequence| sequence.id == of);
        let n_before = n_before.map(to_u32);
        self.events.push(Event::Placed { id, n_before });
    }

    /// Ends requests without events. Their cells stay in the cache for later requests.
    pub(in crate::engine) fn cancel(&mut self, ids: &[RequestId]) {
        if ids.is_empty() {
            return;
        }
        let ids: HashSet<RequestId> = ids.iter().copied().collect();
        for slot in self.busy() {
            let id = self.running[slot].as_ref().map(|sequence| sequence.id);
            if id.is_some_and(|id| ids.contains(&id)) {
                self.release(slot);
            }
        }
        self.waiting.retain(|sequence| !ids.contains(&sequence.id));
        self.embeddings.cancel(&ids);
    }

    /// Takes the sequence out of a slot, which becomes idle.
    pub(super) fn release(&mut self, slot: usize) -> Option<Sequence<S>> {
        self.ledger.touch(slot);
        self.forgotten.push(slot);
        self.running[slot].take()
    }

    pub(in crate::engine) fn fail(&mut self, id: RequestId, failure: Failure) {
        self.events.push(Event::Failed { id, failure });
    }

    /// Whether a slot is idle; it may still hold cells.
    pub(super) fn is_idle(&self, slot: usize) -> bool {
        self.running[slot].is_none() && self.embeddings.begun_in() != Some(slot)
    }

    pub(in crate::engine) fn is_running(&self) -> bool {
        self.running.iter().any(Option::is_some)
    }

    /// Whether a sequence waits for a prefix that is being fetched.
    pub(in crate::engine) fn is_awaiting_fetch(&self) -> bool {
        let mut running = self.running.iter().flatten();
        running.any(|sequence| sequence.awaits_fetch)
    }

    /// Whether an interactive sequence is generating.
    pub(super) fn is_somebody_reading(&self) -> bool {
        let mut running = self.running.iter().enumerate();
        running.any(|(slot, sequence)| {
            sequence.as_ref().is_some_and(|sequence| {
                sequence.priority() == Priority::Interactive
                    && sequence.is_decoding(self.ledger.len(slot))
            })
        })
    }

    /// The slots with a running sequence.
    pub(in crate::engine) fn busy(&self) -> Vec<usize> {
        let slots = 0..self.running.len();
        slots.filter(|&slot| self.running[slot].is_some()).collect()
    }
}
