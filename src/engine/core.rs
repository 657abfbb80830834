//! The engine: plan, execute, commit.
//!
//! [`Engine::enter`] takes prepared requests, [`Engine::step`] runs one step, [`Engine::take_events`]
//! returns the events. It has no channel and no thread.

use std::sync::Arc;
use std::time::Instant;

use super::backend::Backend;
use super::execute::Executor;
use super::host_cache::{HostCache, SavedState};
use super::interrupt::Interrupt;
use super::prepare::Terms;
use super::schedule::ledger::seq;
use super::schedule::state::{Facts, Prepared, State};
use super::speculate::{Drafter, PromptLookup};
use crate::protocol::{Event, RequestId, Speculation};

/// The engine of a loaded model.
pub(super) struct Engine<B: Backend> {
    pub(super) state: State<B::Sampler>,
    pub(super) executor: Executor<B>,
}

impl<B: Backend> Engine<B> {
    pub(super) fn new(mut backend: B, is_embedding: bool, speculation: Speculation) -> Self {
        let interrupt = Arc::default();
        let facts = Facts {
            is_interruptible: backend.heed(&interrupt),
            is_windowed: backend.is_windowed(),
            is_embedding,
            speculation,
            ..Facts::of(backend.info(), backend.n_batch(), backend.n_outputs())
        };
        Self {
            executor: Executor {
                backend,
                drafter: Box::new(PromptLookup::new(facts.n_slots)),
                host: HostCache::off(),
                interrupt,
            },
            state: State::new(facts),
        }
    }

    /// Replaces the drafter.
    pub(super) fn draft_with(&mut self, drafter: impl Drafter + 'static) {
        self.state.facts.has_draft_model = drafter.is_asked_for();
        self.executor.drafter = Box::new(drafter);
    }

    /// Sets the host cache, which keeps prefixes that lose their cells.
    pub(super) fn keep_in(&mut self, host: HostCache) {
        self.state.facts.has_host_cache = host.is_on();
        self.executor.host = host;
    }

    /// Sets a callback that is called when a prefix has been read, for an engine that had nothing to do.
    pub(super) fn wake_with(&self, wake: impl Fn() + Send + 'static) {
        self.executor.host.wake_with(wake);
    }

    /// Interrupts the calls of batch jobs.
    pub(super) fn interrupt(&self) -> Arc<Interrupt> {
        Arc::clone(&self.executor.interrupt)
    }

    /// Whether a step has something to do.
    pub(super) fn has_work(&self) -> bool {
        self.state.has_work()
    }

    /// Takes the events, in order.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        self.state.take_events()
    }

    /// Returns what requests are prepared with.
    pub(super) fn terms(&self) -> Terms<B::Preparer> {
        Terms {
            preparer: Arc::clone(self.executor.backend.preparer()),
            n_batch: self.state.facts.n_largest_batch(),
            is_embedding: self.state.facts.is_embedding,
        }
    }

    /// Adds a prepared request.
    pub(super) fn enter(&mut self, prepared: Prepared<B::Sampler>) {
        self.state.enter(prepared);
    }

    /// Answers a ping.
    pub(super) fn pong(&mut self, id: RequestId) {
        self.state.pong(id);
    }

    /// Reports how many requests are ahead of a waiting one.
    pub(super) fn place(&mut self, id: RequestId, of: RequestId) {
        self.state.tell_place(id, of);
    }

    /// Ends requests without events. Their cells stay in the cache for later requests.
    pub(super) fn cancel(&mut self, ids: &[RequestId]) {
        self.state.cancel(ids);
    }

    /// Runs one step; false when there was nothing to compute, except for sequences that wait for a prefix
    /// to be read.
    pub(super) fn step(&mut self) -> bool {
        let started = Instant::now();
        self.executor.host.collect();
        let state = &mut self.state;
        let plan = state.plan(&self.executor.host, started);
        let is_idle = plan.is_idle() && state.is_awaiting_fetch();
        let (running, times) = (&mut state.running, &state.step_times);
        let outcome = self.executor.execute(&plan, running, times);
        state.commit(plan, outcome, started, Instant::now());
        !is_idle
    }

    /// Applies the pending cache operations.
    pub(super) fn flush(&mut self) {
        let ops = self.state.ledger.take_ops();
        for seq in self.executor.apply(&ops).lost {
            self.state.ledger.lose(seq as usize);
        }
    }

    /// Saves the cache to files for the next runner of this model, the most recently used prefixes first,
    /// until the deadline.
    pub(super) fn close(&mut self, deadline: Instant) {
        self.flush();
        let Executor { backend, host, .. } = &mut self.executor;
        let state = &self.state;
        let mut slots: Vec<usize> = (0..state.running.len()).collect();
        slots.retain(|&slot| host.is_new(state.ledger.held(slot)));
        let slots = state.distinct(slots);
        let Some((folder, kept)) = host.finish() else {
            return;
        };
        let held = slots.into_iter().filter_map(|slot| {
            let bytes = backend.save(seq(slot))?;
            let tokens = state.ledger.held(slot).to_vec();
            Some(SavedState { tokens, bytes })
        });
        held.chain(kept)
            .take_while(|_| Instant::now() < deadline)
            .for_each(|state| folder.write(&state));
    }
}
