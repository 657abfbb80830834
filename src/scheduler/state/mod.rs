//! The scheduler's state machine: events in, effects out; no clock, no channel, no process.
//!
//! A model is an entry. `Queued` entries wait for memory or for the one load that may run at a time, `Loading`
//! ones for their runner; `Ready` ones grant leases at once. A `Draining` entry grants no more leases: it stops
//! when the last lease is gone, and is loaded again if a request waits for it. `Stopping` ends with the
//! process.

mod entry;
mod foresee;
mod measure;
mod room;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::event::{Effect, EntryId, Event, LoadFailure, WaiterId, World};
use super::placement::Policy;
use super::{AcquireError, ModelSpec};
use crate::config::KeepAlive;
use crate::protocol::LoadedInfo;

pub(super) use entry::{Entry, Phase};
pub(super) use foresee::Foreseen;
pub(super) use measure::MeasureKey;

use entry::{Waiter, is_full};
use measure::Measurements;
use room::Evicted;

/// The error for a model that keeps crashing while it computes.
const KEEPS_CRASHING: &str = "the model's runner has crashed several times within a minute; it is tried again after \
                              a minute, and the server's log says what happened";

/// Loads and runs of one model that may crash within [`CRASH_WINDOW`] before it is refused for a while.
const MAX_CRASHES: usize = 3;
const CRASH_WINDOW: Duration = Duration::from_secs(60);

/// How often a load that failed for lack of memory is retried with a smaller pool.
const MAX_SHRINKS: u32 = 2;

/// What the settings allow.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// 0 = automatic.
    pub(super) max_loaded: usize,
    pub(super) max_queue: usize,
    pub(super) keep_alive: KeepAlive,
    pub(super) policy: Policy,
}

/// All models that are loaded or wanted.
#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    entries: Vec<Entry>,
    next_entry: EntryId,
    /// Recent crashes by weights, with the last error.
    crashes: HashMap<PathBuf, (VecDeque<Instant>, AcquireError)>,
    /// Why a present GPU is not used.
    obstacle: Option<String>,
    /// The measured models.
    measurements: Measurements,
    /// Recently evicted models.
    evicted: Vec<Evicted>,
    /// What other programs hold, by GPU index.
    foreign_bytes: HashMap<usize, u64>,
    /// When a waiting model may find room that another model holds now.
    recheck: Option<Instant>,
    /// System memory that was in use when no model was loaded.
    foreign_system_bytes: u64,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: Vec::new(),
            next_entry: 0,
            crashes: HashMap::new(),
            obstacle: None,
            measurements: Measurements::default(),
            evicted: Vec::new(),
            foreign_bytes: HashMap::new(),
            recheck: None,
            foreign_system_bytes: 0,
        }
    }

    /// The loaded and loading models.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether a request for a model needs no load.
    pub(super) fn is_ready_for(&self, spec: &ModelSpec) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.is_ready() && entry.serves(spec))
    }

    /// The next time at which `Tick` matters.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.entries.iter().filter_map(|entry| entry.deadline);
        deadlines.chain(self.recheck).min()
    }

    /// Handles an event; returns what has to be done.
    pub(super) fn handle(&mut self, event: Event, world: &World<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Acquire {
                waiter,
                spec,
                keep_alive,
            } => {
                self.acquire(
                    Waiter {
                        id: waiter,
                        spec,
                        keep_alive,
                        since: world.now,
                    },
                    world,
                    &mut effects,
                );
            }
            Event::Canceled(waiter) => self.cancel(waiter, &mut effects),
            Event::Released(entry, origin) => {
                self.release(entry, &origin, world.now, &mut effects);
            }
            Event::Loaded { entry, info } => self.loaded(entry, info, world.now, &mut effects),
            Event::LoadFailed { entry, failure } => {
                self.load_failed(entry, &failure, world.now, &mut effects);
            }
            Event::Exited(entry) => self.exited(entry, world.now),
            Event::Unload { weights } => self.unload(&weights, &mut effects),
            Event::Measured { key, measured } => self.measurements.note(*key, measured.as_ref()),
            Event::Devices { obstacle } => {
                self.obstacle = obstacle;
                let snapshot = (world.snapshot)();
                self.look_at_gpus(&snapshot);
                self.leave_lost_gpus(&snapshot, &mut effects);
            }
            Event::Tick => self.expire(world.now, &mut effects),
        }
        self.recheck = None;
        self.advance(world, &mut effects);
        effects
    }

    fn acquire(&mut self, waiter: Waiter, world: &World<'_>, effects: &mut Vec<Effect>) {
        let spec = &waiter.spec;
        if let Some(error) = self.crash_loop(spec, world.now) {
            effects.push(Effect::Refuse {
                waiter: waiter.id,
                error,
            });
            return;
        }
        let serving = self
            .entries
            .iter()
            .position(|entry| entry.serves(&waiter.spec));
        if let Some(entry) = serving.and_then(|index| self.entries.get_mut(index))
            && entry.is_ready()
            && !entry.needs_reload(&waiter.spec)
        {
            if entry.is_full(self.limits.max_queue, &waiter.spec.origin) {
                let wait = (world.wait)(entry.id, entry.n_refused);
                entry.n_refused = entry.n_refused.saturating_add(1);
                effects.push(Effect::Refuse {
                    waiter: waiter.id,
                    error: AcquireError::Overloaded { wait },
                });
            } else {
                entry.grant(&waiter, effects);
            }
            return;
        }
        let waiters = || self.entries.iter().flat_map(|entry| &entry.waiters);
        let of_origin = waiters().filter(|other| other.spec.origin == waiter.spec.origin);
        if is_full(waiters().count(), of_origin.count(), self.limits.max_queue) {
            // A load is assumed to take as long again as it has taken so far.
            let first = self
                .entries
                .iter()
                .filter_map(|entry| entry.waiters.front());
            let waited = first.map(|first| world.now.duration_since(first.since));
            effects.push(Effect::Refuse {
                waiter: waiter.id,
                error: AcquireError::Overloaded { wait: waited.max() },
            });
            return;
        }
        if let Some(entry) = serving.and_then(|index| self.entries.get_mut(index)) {
            entry.waiters.push_back(waiter);
            // A loaded model is reloaded with other options once it is idle.
            entry.drain(effects);
            return;
        }
        self.next_entry += 1;
        let entry = Entry::queued(self.next_entry, waiter, self.limits.keep_alive, world.now);
        self.entries.push(entry);
    }

    /// The error for a model that keeps crashing and is not retried for now.
    fn crash_loop(&mut self, spec: &ModelSpec, now: Instant) -> Option<AcquireError> {
        let (times, error) = self.crashes.get_mut(&spec.weights.path)?;
        while times
            .front()
            .is_some_and(|&time| now.duration_since(time) > CRASH_WINDOW)
        {
            times.pop_front();
        }
        (times.len() >= MAX_CRASHES).then(|| error.clone())
    }

    fn note_crash(&mut self, spec: &ModelSpec, error: AcquireError, now: Instant) {
        let record = self.crashes.entry(spec.weights.path.clone());
        let (times, last) = record.or_insert_with(|| (VecDeque::new(), error.clone()));
        times.push_back(now);
        *last = error;
    }

    fn cancel(&mut self, waiter: WaiterId, effects: &mut Vec<Effect>) {
        for entry in &mut self.entries {
            entry.waiters.retain(|waiting| waiting.id != waiter);
        }
        self.entries.retain(|entry| {
            let unwanted = entry.waiters.is_empty();
            if unwanted && entry.phase == Phase::Loading {
                effects.push(Effect::Abort(entry.id));
            }
            !(unwanted && matches!(entry.phase, Phase::Queued | Phase::Loading))
        });
    }

    fn release(&mut self, id: EntryId, origin: &str, now: Instant, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entry(id) else { return };
        entry.count_released(origin);
        entry.last_used = now;
        if !entry.is_idle() {
            return;
        }
        if std::mem::take(&mut entry.had_people) {
            entry.last_person = Some(now);
        }
        match (&entry.phase, entry.keep_alive) {
            (Phase::Ready(_), KeepAlive::For(Duration::ZERO)) => entry.stop(effects),
            (Phase::Ready(_), KeepAlive::For(time)) => entry.deadline = now.checked_add(time),
            (Phase::Draining(_), _) => entry.stop_if_drained(effects),
            _ => {}
        }
    }

    fn loaded(
        &mut self,
        id: EntryId,
        info: Box<LoadedInfo>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) else {
            // The load was aborted at the last moment.
            effects.push(Effect::Stop(id));
            return;
        };
        if let Some(plan) = &entry.plan {
            let key = MeasureKey::new(&entry.spec, !plan.cards.is_empty(), &self.limits.policy);
            self.measurements.learn(&key, plan, &info.memory);
        }
        entry.set_loaded(info, now);
        entry.grant_fitting(effects);
        if !entry.waiters.is_empty() {
            entry.drain(effects);
        }
    }

    fn load_failed(
        &mut self,
        id: EntryId,
        failure: &LoadFailure,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(index) = self.entries.iter().position(|entry| entry.id == id) else {
            return;
        };
        let entry = &mut self.entries[index];
        if failure.short_of_memory && entry.n_shrinks < MAX_SHRINKS {
            // A new id: the old load's process may still be reported.
            self.next_entry += 1;
            entry.id = self.next_entry;
            entry.n_shrinks += 1;
            entry.phase = Phase::Queued;
            entry.plan = None;
            return;
        }
        let entry = self.entries.remove(index);
        let error = &failure.error;
        if failure.crashed {
            self.note_crash(&entry.spec, error.clone(), now);
        }
        for waiter in entry.waiters {
            effects.push(Effect::Refuse {
                waiter: waiter.id,
                error: error.clone(),
            });
        }
    }

    /// The process is gone: requests that wait for the model get a new one.
    fn exited(&mut self, id: EntryId, now: Instant) {
        let Some(index) = self.entries.iter().position(|entry| entry.id == id) else {
            return;
        };
        let entry = self.entries.remove(index);
        if entry.phase != Phase::Stopping && !entry.is_idle() {
            let error = AcquireError::LoadFailed(KEEPS_CRASHING.to_owned());
            self.note_crash(&entry.spec, error, now);
        }
        let mut waiters = entry.waiters;
        let Some(first) = waiters.pop_front() else {
            return;
        };
        // Leases of the old process may still exist; a new id keeps them apart.
        self.next_entry += 1;
        let mut entry = Entry::queued(self.next_entry, first, self.limits.keep_alive, now);
        entry.waiters.append(&mut waiters);
        self.entries.push(entry);
    }

    fn unload(&mut self, weights: &Path, effects: &mut Vec<Effect>) {
        for entry in self
            .entries
            .iter_mut()
            .filter(|entry| entry.spec.weights.path == weights)
        {
            if !entry.is_ready() {
                continue;
            }
            if entry.is_idle() {
                entry.stop(effects);
            } else {
                entry.keep_alive = KeepAlive::For(Duration::ZERO);
            }
        }
    }

    fn expire(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for entry in &mut self.entries {
            if entry.deadline.is_some_and(|deadline| deadline <= now) && entry.is_idle() {
                entry.stop(effects);
            }
        }
    }

    /// Whether a runner has, or loads, a part of its model on the card.
    pub(super) fn uses_card(&self, index: usize) -> bool {
        let plans = self.entries.iter().filter_map(|entry| entry.plan.as_ref());
        let mut cards = plans.flat_map(|plan| &plan.cards);
        cards.any(|card| card.index == index)
    }

    fn entry(&mut self, id: EntryId) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }
}
