//! The engine: owns the model's context and everything that is going on in it.
//!
//! [`Engine::enter`] takes requests that are prepared, [`Engine::step`] computes once,
//! [`Engine::take_events`] gives out what is to be told. No channel, no thread: given its requests and the times that its
//! steps took, it decides the same.

use std::collections::HashSet;
use std::sync::Arc;

use super::admission::Admission;
use super::backend::Backend;
use super::batcher::Budget;
use super::embed::{Begun, EmbedJob};
use super::prepare::{Prepared, Terms};
use super::sequence::Sequence;
use super::slot::Slots;
use super::speculate::{Guesser, PromptLookup};
use super::spill::Spill;
use super::step_times::StepTimes;
use super::to_u32;
use crate::protocol::{Event, Failure, RequestId, Speculation, Update};

/// Counts for the daemon's metrics.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) n_cached: usize,
    pub(super) n_generated: usize,
    pub(super) n_evicted: usize,
    pub(super) n_parked: usize,
    pub(super) n_preempted: usize,
    pub(super) n_spilled: usize,
    pub(super) n_restored: usize,
}

/// A loaded model at work.
pub(super) struct Engine<B: Backend> {
    pub(super) backend: B,
    pub(super) slots: Slots,
    /// Who runs in which slot.
    pub(super) running: Vec<Option<Sequence<B::Sampler>>>,
    pub(super) waiting: Admission<Sequence<B::Sampler>>,
    pub(super) embeds: Admission<EmbedJob>,
    pub(super) begun: Option<Begun>,
    pub(super) budget: Budget,
    pub(super) speculation: Speculation,
    pub(super) guesser: Box<dyn Guesser>,
    /// What is kept of slots that were needed.
    pub(super) spill: Spill,
    /// How long calls take that evaluate no prompts.
    pub(super) step_times: StepTimes,
    /// What has happened since the last report.
    pub(super) tally: Tally,
    /// What the current step has produced.
    pub(super) updates: Vec<Update>,
    pub(super) events: Vec<Event>,
    n_arrived: u64,
    /// Sequences that passed the first one in the queue since it is that.
    pub(super) n_passes: usize,
    /// Decode calls, for the turn of sequences that do not generate together.
    pub(super) n_calls: usize,
    /// The context is made for embeddings and has no logits.
    pub(super) is_embedding: bool,
}

impl<B: Backend> Engine<B> {
    pub(super) fn new(backend: B, is_embedding: bool, speculation: Speculation) -> Self {
        let n_slots = backend.info().n_slots.max(1) as usize;
        let on_gpu = backend.info().vram_bytes > 0;
        Self {
            slots: Slots::new(n_slots),
            running: std::iter::repeat_with(|| None).take(n_slots).collect(),
            waiting: Admission::default(),
            embeds: Admission::default(),
            begun: None,
            budget: Budget::new(backend.n_batch().max(1), on_gpu),
            speculation,
            guesser: Box::new(PromptLookup::new(n_slots)),
            spill: Spill::off(),
            step_times: StepTimes::default(),
            tally: Tally::default(),
            updates: Vec::new(),
            events: Vec::new(),
            n_arrived: 0,
            n_passes: 0,
            n_calls: 0,
            is_embedding,
            backend,
        }
    }

    /// Lets somebody else guess what sequences say next.
    pub(super) fn guess_with(&mut self, guesser: impl Guesser + 'static) {
        self.guesser = Box::new(guesser);
    }

    /// Whether a step would do something.
    pub(super) fn has_work(&self) -> bool {
        self.is_running() || !self.waiting.is_empty() || !self.embeds.is_empty()
    }

    /// What is to be told, in order.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What requests are prepared with.
    pub(super) fn terms(&self) -> Terms<B::Preparer> {
        Terms {
            preparer: Arc::clone(self.backend.preparer()),
            n_batch: self.largest_batch(),
            is_embedding: self.is_embedding,
        }
    }

    /// Takes a request in.
    pub(super) fn enter(&mut self, prepared: Prepared<B::Sampler>) {
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
            Prepared::Embedding(job) => {
                let client = job.client().to_owned();
                self.embeds.push(job.priority(), &client, job);
            }
        }
    }

    /// Gives a sign of life.
    pub(super) fn pong(&mut self, id: RequestId) {
        self.events.push(Event::Pong { id });
    }

    /// Ends requests without a word. What they have in the cache stays for the next ones.
    pub(super) fn cancel(&mut self, ids: &[RequestId]) {
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
        self.embeds.retain(|job| !ids.contains(&job.id));
        self.begun.take_if(|begun| ids.contains(&begun.id));
    }

    /// Takes the sequence out of a slot, which becomes idle.
    pub(super) fn release(&mut self, slot: usize) -> Option<Sequence<B::Sampler>> {
        self.slots.touch(slot);
        self.guesser.forget(slot);
        self.running[slot].take()
    }

    pub(super) fn fail(&mut self, id: RequestId, failure: Failure) {
        self.events.push(Event::Failed { id, failure });
    }

    /// Whether a slot is nobody's; it may still hold what somebody left.
    pub(super) fn is_idle(&self, slot: usize) -> bool {
        self.running[slot].is_none() && self.begun.is_none_or(|begun| begun.slot != slot)
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.iter().any(Option::is_some)
    }

    /// The slots in which somebody runs.
    pub(super) fn busy(&self) -> Vec<usize> {
        let slots = 0..self.running.len();
        slots.filter(|&slot| self.running[slot].is_some()).collect()
    }
}
