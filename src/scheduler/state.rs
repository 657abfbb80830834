//! The scheduler's state machine: events in, effects out; no clock, no channel, no process.
//!
//! A model is an entry. `Queued` entries wait for memory or for the one load that may run at a
//! time, `Loading` ones for their runner; `Ready` ones grant leases at once. A `Draining` entry
//! grants none any more: it stops when the last lease is gone, and is loaded again if somebody
//! waits for it. `Stopping` ends with the process.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::event::{Effect, EntryId, Event, WaiterId, World};
use super::evict::{self, Candidate};
use super::placement::{self, LoadPlan, Policy};
use super::{AcquireError, ModelSpec};
use crate::config::KeepAlive;
use crate::device::Snapshot;
use crate::protocol::LoadedInfo;

/// Loads of one model that may crash within [`CRASH_WINDOW`] before it is refused for a while.
const MAX_CRASHES: usize = 3;
const CRASH_WINDOW: Duration = Duration::from_secs(60);

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
    /// Recent crashes while loading, by weights, with the last reason.
    crashes: HashMap<PathBuf, (VecDeque<Instant>, AcquireError)>,
}

/// One model.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    /// The request that it was (or will be) loaded for.
    pub(super) spec: ModelSpec,
    pub(super) phase: Phase,
    plan: Option<LoadPlan>,
    waiters: VecDeque<Waiter>,
    pub(super) n_active: usize,
    pub(super) keep_alive: KeepAlive,
    /// When an idle model goes.
    pub(super) deadline: Option<Instant>,
    last_used: Instant,
}

/// Where an entry is in its life.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    Queued,
    Loading,
    Ready(Box<LoadedInfo>),
    Draining(Box<LoadedInfo>),
    Stopping,
}

#[derive(Debug)]
struct Waiter {
    id: WaiterId,
    spec: Box<ModelSpec>,
    keep_alive: Option<KeepAlive>,
}

impl Entry {
    fn is_resident(&self) -> bool {
        self.phase != Phase::Queued
    }

    fn is_idle(&self) -> bool {
        self.n_active == 0
    }

    fn serves(&self, spec: &ModelSpec) -> bool {
        self.spec.weights == spec.weights
            && self.spec.projectors == spec.projectors
            && self.spec.adapters == spec.adapters
    }

    /// Whether the loaded runner cannot serve a request as its options want it.
    fn needs_reload(&self, spec: &ModelSpec) -> bool {
        let (have, want) = (&self.spec.options, &spec.options);
        let wants_layers = want.num_gpu >= 0 && want.num_gpu != have.num_gpu;
        let wants_gpu = want.main_gpu.is_some() && want.main_gpu != have.main_gpu;
        let wants_threads = want.num_thread > 0 && want.num_thread != have.num_thread;
        let wants_mmap = want.use_mmap.is_some() && want.use_mmap != have.use_mmap;
        wants_layers || wants_gpu || wants_threads || wants_mmap || self.is_too_small(spec)
    }

    /// A wish for more context than the pool has, which a reload could fulfil.
    fn is_too_small(&self, spec: &ModelSpec) -> bool {
        let Some(plan) = &self.plan else { return false };
        let trained = match spec.dims.n_ctx_train {
            0 => u32::MAX,
            trained => trained,
        };
        let wish = spec
            .options
            .num_ctx
            .unwrap_or_default()
            .min(trained)
            .min(plan.n_ctx_most);
        wish > plan.n_ctx_pool
    }
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: Vec::new(),
            next_entry: 0,
            crashes: HashMap::new(),
        }
    }

    /// The loaded and loading models.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The next time at which `Tick` matters.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.entries.iter().filter_map(|entry| entry.deadline).min()
    }

    /// Takes an event in and says what is to be done.
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
                    },
                    world,
                    &mut effects,
                );
            }
            Event::Canceled(waiter) => self.cancel(waiter, &mut effects),
            Event::Released(entry) => self.release(entry, world.now, &mut effects),
            Event::Loaded { entry, info } => self.loaded(entry, info, world.now, &mut effects),
            Event::LoadFailed {
                entry,
                error,
                crashed,
            } => {
                self.load_failed(entry, &error, crashed.then_some(world.now), &mut effects);
            }
            Event::Exited(entry) => self.exited(entry),
            Event::Unload { weights } => self.unload(&weights, &mut effects),
            Event::Devices => {}
            Event::Tick => self.expire(world.now, &mut effects),
        }
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
        let found = self.entries.iter_mut().find(|entry| entry.serves(spec));
        if let Some(entry) = found {
            if matches!(entry.phase, Phase::Ready(_)) && !entry.needs_reload(spec) {
                grant(entry, &waiter, effects);
                return;
            }
            if let Phase::Ready(info) = &entry.phase {
                entry.phase = Phase::Draining(info.clone());
                entry.deadline = None;
                stop_if_drained(entry, effects);
            }
        }
        let waiting: usize = self.entries.iter().map(|entry| entry.waiters.len()).sum();
        if waiting >= self.limits.max_queue {
            effects.push(Effect::Refuse {
                waiter: waiter.id,
                error: AcquireError::Overloaded,
            });
            return;
        }
        let serving = self
            .entries
            .iter_mut()
            .find(|entry| entry.serves(&waiter.spec));
        if let Some(entry) = serving {
            entry.waiters.push_back(waiter);
            return;
        }
        self.next_entry += 1;
        self.entries.push(Entry {
            id: self.next_entry,
            spec: (*waiter.spec).clone(),
            phase: Phase::Queued,
            plan: None,
            keep_alive: self.limits.keep_alive,
            waiters: VecDeque::from([waiter]),
            n_active: 0,
            deadline: None,
            last_used: world.now,
        });
    }

    /// Why a model that keeps crashing is not tried again just now.
    fn crash_loop(&mut self, spec: &ModelSpec, now: Instant) -> Option<AcquireError> {
        let (times, error) = self.crashes.get_mut(&spec.weights)?;
        while times
            .front()
            .is_some_and(|&time| now.duration_since(time) > CRASH_WINDOW)
        {
            times.pop_front();
        }
        (times.len() >= MAX_CRASHES).then(|| error.clone())
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

    fn release(&mut self, id: EntryId, now: Instant, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entry(id) else { return };
        entry.n_active = entry.n_active.saturating_sub(1);
        entry.last_used = now;
        if !entry.is_idle() {
            return;
        }
        match (&entry.phase, entry.keep_alive) {
            (Phase::Ready(_), KeepAlive::For(Duration::ZERO)) => stop(entry, effects),
            (Phase::Ready(_), KeepAlive::For(time)) => entry.deadline = now.checked_add(time),
            (Phase::Draining(_), _) => stop_if_drained(entry, effects),
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
        let Some(entry) = self.entry(id) else {
            // Aborted at the last moment.
            effects.push(Effect::Stop(id));
            return;
        };
        if let Some(plan) = &mut entry.plan {
            plan.n_ctx_pool = info.n_ctx_pool;
        }
        entry.phase = Phase::Ready(info);
        entry.last_used = now;
        let (fitting, others): (VecDeque<Waiter>, VecDeque<Waiter>) =
            std::mem::take(&mut entry.waiters)
                .into_iter()
                .partition(|waiter| !entry.needs_reload(&waiter.spec));
        for waiter in &fitting {
            grant(entry, waiter, effects);
        }
        entry.waiters = others;
        if let Phase::Ready(info) = &entry.phase
            && !entry.waiters.is_empty()
        {
            entry.phase = Phase::Draining(info.clone());
            stop_if_drained(entry, effects);
        }
    }

    fn load_failed(
        &mut self,
        id: EntryId,
        error: &AcquireError,
        crashed: Option<Instant>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(index) = self.entries.iter().position(|entry| entry.id == id) else {
            return;
        };
        let entry = self.entries.remove(index);
        if let Some(now) = crashed {
            let record = self.crashes.entry(entry.spec.weights);
            let (times, last) = record.or_insert_with(|| (VecDeque::new(), error.clone()));
            times.push_back(now);
            last.clone_from(error);
        }
        for waiter in entry.waiters {
            effects.push(Effect::Refuse {
                waiter: waiter.id,
                error: error.clone(),
            });
        }
    }

    /// The process is gone: whoever waits for the model gets a new one.
    fn exited(&mut self, id: EntryId) {
        let Some(index) = self.entries.iter().position(|entry| entry.id == id) else {
            return;
        };
        let mut entry = self.entries.remove(index);
        let Some(first) = entry.waiters.front() else {
            return;
        };
        // Leases of the old process may still be around; a new number keeps them apart.
        self.next_entry += 1;
        entry.id = self.next_entry;
        entry.spec = (*first.spec).clone();
        entry.phase = Phase::Queued;
        entry.plan = None;
        entry.n_active = 0;
        entry.deadline = None;
        self.entries.push(entry);
    }

    fn unload(&mut self, weights: &std::path::Path, effects: &mut Vec<Effect>) {
        for entry in self
            .entries
            .iter_mut()
            .filter(|entry| entry.spec.weights == weights)
        {
            if !matches!(entry.phase, Phase::Ready(_)) {
                continue;
            }
            if entry.is_idle() {
                stop(entry, effects);
            } else {
                entry.keep_alive = KeepAlive::For(Duration::ZERO);
            }
        }
    }

    fn expire(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for entry in &mut self.entries {
            if entry.deadline.is_some_and(|deadline| deadline <= now) && entry.is_idle() {
                stop(entry, effects);
            }
        }
    }

    /// Starts what can be started, makes room for what cannot.
    fn advance(&mut self, world: &World<'_>, effects: &mut Vec<Effect>) {
        if !world.devices_known {
            return;
        }
        // One load at a time: its memory is not taken yet and cannot be measured.
        while !self
            .entries
            .iter()
            .any(|entry| entry.phase == Phase::Loading)
        {
            let queued = self
                .entries
                .iter()
                .position(|entry| entry.phase == Phase::Queued);
            let Some(index) = queued else { return };
            if !self.try_load(index, world, effects) {
                return;
            }
        }
    }

    /// Loads an entry, or takes one step towards making room; false when there is to be waited.
    fn try_load(&mut self, index: usize, world: &World<'_>, effects: &mut Vec<Effect>) -> bool {
        // Memory that is about to be freed is worth waiting for.
        if self
            .entries
            .iter()
            .any(|entry| entry.phase == Phase::Stopping)
        {
            return false;
        }
        let resident = self
            .entries
            .iter()
            .filter(|entry| entry.is_resident())
            .count();
        let free = self.free(world.snapshot);
        let alone = resident == 0;
        let spec = &self.entries[index].spec;
        let plan = if resident < self.max_loaded(world.snapshot) {
            placement::plan(spec, &self.limits.policy, &free, alone)
        } else {
            None
        };
        if let Some(plan) = plan {
            let entry = &mut self.entries[index];
            entry.phase = Phase::Loading;
            entry.plan = Some(plan.clone());
            effects.push(Effect::Spawn {
                entry: entry.id,
                plan: Box::new(plan),
            });
            return true;
        }
        self.make_room(effects);
        false
    }

    fn max_loaded(&self, snapshot: &Snapshot) -> usize {
        match self.limits.max_loaded {
            0 => 3 * snapshot.gpus.len().max(1),
            limit => limit,
        }
    }

    /// The free memory; GPU figures are those of the last probe, without what was loaded since.
    fn free(&self, snapshot: &Snapshot) -> Snapshot {
        let mut free = snapshot.clone();
        for plan in self.entries.iter().filter_map(|entry| entry.plan.as_ref()) {
            let index = plan.main_gpu.and_then(|index| usize::try_from(index).ok());
            if let Some(gpu) =
                index.and_then(|index| free.gpus.iter_mut().find(|gpu| gpu.index == index))
            {
                gpu.free_bytes = gpu
                    .free_bytes
                    .min(gpu.total_bytes.saturating_sub(plan.gpu_bytes));
            }
        }
        free
    }

    fn make_room(&mut self, effects: &mut Vec<Effect>) {
        // One victim at a time; a draining one will make room already.
        if self
            .entries
            .iter()
            .any(|entry| matches!(entry.phase, Phase::Draining(_)))
        {
            return;
        }
        let candidates: Vec<Candidate> = self
            .entries
            .iter()
            .filter(|entry| matches!(entry.phase, Phase::Ready(_)))
            .map(|entry| Candidate {
                entry: entry.id,
                idle: entry.is_idle(),
                pinned: entry.keep_alive == KeepAlive::Forever,
                last_used: entry.last_used,
            })
            .collect();
        let Some(victim) = evict::choose(&candidates) else {
            return;
        };
        let Some(entry) = self.entry(victim.entry) else {
            return;
        };
        if let Phase::Ready(info) = &entry.phase {
            entry.phase = Phase::Draining(info.clone());
            entry.deadline = None;
        }
        stop_if_drained(entry, effects);
    }

    fn entry(&mut self, id: EntryId) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }
}

fn grant(entry: &mut Entry, waiter: &Waiter, effects: &mut Vec<Effect>) {
    if let Some(keep_alive) = waiter.keep_alive {
        entry.keep_alive = keep_alive;
    }
    entry.n_active += 1;
    entry.deadline = None;
    effects.push(Effect::Grant {
        waiter: waiter.id,
        entry: entry.id,
    });
}

fn stop(entry: &mut Entry, effects: &mut Vec<Effect>) {
    entry.phase = Phase::Stopping;
    entry.deadline = None;
    effects.push(Effect::Stop(entry.id));
}

fn stop_if_drained(entry: &mut Entry, effects: &mut Vec<Effect>) {
    if matches!(entry.phase, Phase::Draining(_)) && entry.is_idle() {
        stop(entry, effects);
    }
}
