//! Starts the loads that fit, and makes room for the one that does not.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::State;
use super::entry::{Entry, Phase};
use super::foresee::candidate;
use crate::device::Snapshot;
use crate::scheduler::event::{Effect, World};
use crate::scheduler::evict::{self, Candidate};
use crate::scheduler::placement::{self, LoadPlan, Request};
use crate::scheduler::{AcquireError, ModelSpec};

/// How long an evicted model is expected back.
const EXPECTED_BACK: Duration = Duration::from_secs(600);

/// After this time a model that waits for room comes before all others: no model is loaded that would take its
/// room.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A model that had to make room.
#[derive(Debug)]
pub(super) struct Evicted {
    weights: PathBuf,
    /// The memory that it needs at least to come back.
    need_bytes: u64,
    at: Instant,
}

/// What a load is short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// One of the places for loaded models, or memory that all models share.
    Any,
    Gpu,
    System,
}

impl Need {
    /// Whether unloading a model would free some of it.
    fn is_held_by(self, entry: &Entry) -> bool {
        let Some(plan) = &entry.plan else {
            return false;
        };
        match self {
            Self::Any => true,
            Self::Gpu => plan.gpu_bytes() > 0,
            Self::System => plan.system_bytes > 0,
        }
    }
}

/// What is needed, and whether only jobs need it.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    need: Need,
    /// Only batch jobs wait for it.
    for_job: bool,
}

impl Wanted {
    /// Until when a model is protected from eviction; `None` = it can be evicted.
    fn is_held_until(self, entry: &Entry, now: Instant) -> Option<Instant> {
        // A job waits until people no longer use a model; people do not wait for a model that only jobs use.
        let peoples = entry.is_peoples_until().filter(|_| self.for_job);
        let has_turn = self.for_job || entry.is_peoples();
        let turn = entry.has_turn_until().filter(|_| has_turn);
        [peoples, turn]
            .into_iter()
            .flatten()
            .filter(|until| *until > now)
            .max()
    }
}

impl State {
    /// Starts what can be started, makes room for what cannot.
    pub(super) fn advance(&mut self, world: &World<'_>, effects: &mut Vec<Effect>) {
        self.revive(effects);
        if !world.devices_known {
            return;
        }
        // One load at a time: its memory is not taken yet, so it does not show as used.
        if self.any(|entry| entry.phase == Phase::Loading) {
            return;
        }
        self.evicted
            .retain(|evicted| world.now.duration_since(evicted.at) < EXPECTED_BACK);
        let mut queued: Vec<usize> = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.phase == Phase::Queued)
            .map(|(index, _)| index)
            .collect();
        // Models that people request come before those of batch jobs.
        queued.sort_by_key(|&index| self.entries[index].is_wanted_by_jobs_only());
        if queued.is_empty() {
            return;
        }
        let snapshot = (world.snapshot)();
        if self.n_resident() == 0 {
            self.foreign_system_bytes = snapshot
                .system_total_bytes
                .saturating_sub(snapshot.system_available_bytes);
        }
        for &index in &queued {
            self.entries[index].adopt_wishes();
        }
        queued.retain(|&index| !self.waits_for_measurement(index, &snapshot, effects));
        let Some(&first) = queued.first() else {
            return;
        };
        if self.refuse_the_cpu(&snapshot, effects) {
            return self.advance(world, effects);
        }
        // In order, but a model that has to wait for room does not block one that fits.
        let has_waited_long = self.entries[first].has_waited(world.now) >= LONGEST_WAIT;
        for &index in &queued {
            let Some(plan) = self.plan(&self.entries[index], &snapshot) else {
                continue;
            };
            let may_start = index == first
                || !has_waited_long
                || self.leaves_room(&self.entries[first], &plan, &snapshot);
            if may_start {
                self.start(index, plan, effects);
                return;
            }
        }
        let wanted = Wanted {
            need: self.need(&self.entries[first].spec, &snapshot),
            for_job: self.entries[first].is_wanted_by_jobs_only(),
        };
        self.make_room(wanted, world.now, effects);
    }

    /// Whether a waiting model would fit beside another one that is loaded as planned, once the models that are
    /// already stopping are gone.
    fn leaves_room(&self, waiting: &Entry, other: &LoadPlan, snapshot: &Snapshot) -> bool {
        let entries = self.entries.iter();
        let stays = |entry: &&Entry| entry.is_ready() || entry.phase == Phase::Loading;
        let staying: Vec<&Entry> = entries.filter(stays).collect();
        if staying.len() + 1 >= self.max_loaded(snapshot) {
            return false;
        }
        let mut free = self.free_beside(snapshot, &staying);
        let left = |free: u64, held| free.saturating_sub(held);
        free.system_available_bytes = left(free.system_available_bytes, other.system_bytes);
        for gpu in &mut free.gpus {
            gpu.free_bytes = left(gpu.free_bytes, other.bytes_on(gpu.index));
        }
        let request = self.question(&waiting.spec, &self.limits.policy, false);
        placement::plan(&request, &free).is_some()
    }

    /// Keeps a victim loaded if the model that it should make room for is no longer wanted.
    fn revive(&mut self, effects: &mut Vec<Effect>) {
        if self.any(|entry| entry.phase == Phase::Queued) {
            return;
        }
        let draining = self.entries.iter_mut().filter(|entry| entry.is_draining());
        for entry in draining.filter(|entry| !entry.is_lost) {
            let wants_reload = entry
                .waiters
                .iter()
                .any(|waiter| entry.needs_reload(&waiter.spec));
            if !wants_reload {
                entry.revive();
                entry.grant_fitting(effects);
            }
        }
    }

    fn start(&mut self, index: usize, plan: LoadPlan, effects: &mut Vec<Effect>) {
        let entry = &mut self.entries[index];
        entry.phase = Phase::Loading;
        entry.plan = Some(plan.clone());
        effects.push(Effect::Spawn {
            entry: entry.id,
            plan: Box::new(plan),
        });
    }

    fn plan(&self, entry: &Entry, snapshot: &Snapshot) -> Option<LoadPlan> {
        let n_resident = self.n_resident();
        if n_resident >= self.max_loaded(snapshot) {
            return None;
        }
        let need = self.need(&entry.spec, snapshot);
        let request = Request {
            spec: &entry.spec,
            policy: &self.limits.policy,
            measurement: self.measurement(&entry.spec, &self.limits.policy),
            reserved_bytes: self.reserved_for_others(&entry.spec),
            must: !self.any(|resident| need.is_held_by(resident)),
        };
        let mut plan = placement::plan(&request, &self.free(snapshot))?;
        plan.shrink(entry.n_shrinks);
        Some(plan)
    }

    fn need(&self, spec: &ModelSpec, snapshot: &Snapshot) -> Need {
        if self.n_resident() >= self.max_loaded(snapshot) {
            return Need::Any;
        }
        let gpus = &snapshot.gpus;
        if gpus.is_empty() || spec.options.num_gpu == 0 {
            Need::System
        } else if gpus.iter().any(|gpu| !gpu.is_integrated) {
            Need::Gpu
        } else {
            Need::Any
        }
    }

    fn n_resident(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| entry.is_resident())
            .count()
    }

    fn max_loaded(&self, snapshot: &Snapshot) -> usize {
        match self.limits.max_loaded {
            0 => 3 * snapshot.gpus.len().max(1),
            limit => limit,
        }
    }

    /// What recently evicted models will need when they come back.
    fn reserved_for_others(&self, spec: &ModelSpec) -> u64 {
        self.evicted
            .iter()
            .filter(|evicted| evicted.weights != spec.weights.path)
            .filter(|evicted| {
                !self.any(|entry| entry.is_resident() && entry.spec.weights.path == evicted.weights)
            })
            .map(|evicted| evicted.need_bytes)
            .fold(0, u64::saturating_add)
    }

    /// The free memory. The system counts mapped weights as available, and the last GPU probe was some time
    /// ago, so what our models hold is taken from their plans.
    fn free(&self, snapshot: &Snapshot) -> Snapshot {
        let all: Vec<&Entry> = self.entries.iter().collect();
        self.free_beside(snapshot, &all)
    }

    /// The free memory if only these models were loaded.
    pub(super) fn free_beside(&self, snapshot: &Snapshot, others: &[&Entry]) -> Snapshot {
        let mut free = snapshot.clone();
        let plans = || others.iter().filter_map(|entry| entry.plan.as_ref());
        let held = plans().map(|plan| plan.system_bytes);
        let held = held.fold(0, u64::saturating_add);
        let unheld = free
            .system_total_bytes
            .saturating_sub(self.foreign_system_bytes)
            .saturating_sub(held);
        free.system_available_bytes = free.system_available_bytes.min(unheld);
        // A server has one client, and a runner that does not reach one numbers the devices after it anew.
        let mut remote = free.gpus.iter().filter(|gpu| placement::is_remote(gpu));
        let is_lent = remote.any(|gpu| held_on(plans(), gpu.index) > 0);
        for gpu in &mut free.gpus {
            if is_lent && placement::is_remote(gpu) {
                gpu.free_bytes = 0;
                continue;
            }
            let foreign = self.foreign_bytes.get(&gpu.index).copied();
            gpu.free_bytes = gpu
                .total_bytes
                .saturating_sub(foreign.unwrap_or_default())
                .saturating_sub(held_on(plans(), gpu.index));
        }
        free
    }

    /// Learns from a fresh probe what other programs hold on the GPUs. While a runner starts or stops they
    /// cannot be told apart, and the last figures stay.
    pub(super) fn look_at_gpus(&mut self, snapshot: &Snapshot) {
        let plans = || self.entries.iter().filter_map(|entry| entry.plan.as_ref());
        let moving = self.any(|entry| matches!(entry.phase, Phase::Loading | Phase::Stopping));
        for gpu in &snapshot.gpus {
            if moving && self.foreign_bytes.contains_key(&gpu.index) {
                continue;
            }
            let foreign = gpu
                .total_bytes
                .saturating_sub(gpu.free_bytes)
                .saturating_sub(held_on(plans(), gpu.index));
            self.foreign_bytes.insert(gpu.index, foreign);
        }
    }

    /// Refuses models that would run on the CPU if the settings forbid that. Returns whether there were any.
    fn refuse_the_cpu(&mut self, snapshot: &Snapshot, effects: &mut Vec<Effect>) -> bool {
        if !self.limits.policy.requires_gpu || !snapshot.gpus.is_empty() {
            return false;
        }
        let is_refused =
            |entry: &Entry| entry.phase == Phase::Queued && entry.spec.options.num_gpu != 0;
        let reason = self.obstacle.as_ref();
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let refused: Vec<Entry> = self
            .entries
            .extract_if(.., |entry| is_refused(entry))
            .collect();
        for waiter in refused.iter().flat_map(|entry| &entry.waiters) {
            effects.push(Effect::Refuse {
                waiter: waiter.id,
                error: AcquireError::NoGpu(reason.clone()),
            });
        }
        !refused.is_empty()
    }

    /// Reloads models of lost GPUs on others, or on the CPU. Busy ones finish if they can; a lost device
    /// usually ends their runner.
    pub(super) fn leave_lost_gpus(&mut self, snapshot: &Snapshot, effects: &mut Vec<Effect>) {
        let is_there = |index: usize| snapshot.gpus.iter().any(|gpu| gpu.index == index);
        self.foreign_bytes.retain(|&index, _| is_there(index));
        for entry in &mut self.entries {
            let cards = entry.plan.iter().flat_map(|plan| &plan.cards);
            let is_lost = cards.map(|card| card.index).any(|index| !is_there(index));
            if is_lost && entry.is_ready() {
                entry.is_lost = true;
                entry.drain(effects);
            }
        }
    }

    /// Evicts one model, unless others are already stopping, which will make room.
    fn make_room(&mut self, wanted: Wanted, now: Instant, effects: &mut Vec<Effect>) {
        let held = self.entries.iter();
        let held = held.filter_map(|entry| wanted.is_held_until(entry, now));
        self.recheck = held.min();
        if self.any(|entry| entry.phase == Phase::Stopping) {
            return;
        }
        let any_draining = self.any(Entry::is_draining);
        let candidates: Vec<Candidate> = self
            .entries
            .iter()
            .filter(|entry| entry.is_ready() && wanted.need.is_held_by(entry))
            // One busy victim to wait for is enough.
            .filter(|entry| entry.is_idle() || !any_draining)
            // A job waits until a model is idle.
            .filter(|entry| entry.is_idle() || !wanted.for_job)
            .filter(|entry| wanted.is_held_until(entry, now).is_none())
            .map(candidate)
            .collect();
        let Some(victim) = evict::choose(&candidates) else {
            return;
        };
        let Some(entry) = self.entries.iter().find(|entry| entry.id == victim.entry) else {
            return;
        };
        let evicted = Evicted {
            weights: entry.spec.weights.path.clone(),
            need_bytes: placement::least_bytes(&entry.spec, &self.limits.policy),
            at: now,
        };
        self.evicted
            .retain(|known| known.weights != evicted.weights);
        self.evicted.push(evicted);
        if let Some(entry) = self.entry(victim.entry) {
            entry.drain(effects);
        }
    }

    fn any(&self, test: impl Fn(&Entry) -> bool) -> bool {
        self.entries.iter().any(test)
    }
}

/// Bytes that models hold on a GPU.
fn held_on<'a>(plans: impl Iterator<Item = &'a LoadPlan>, gpu: usize) -> u64 {
    let held = plans.map(|plan| plan.bytes_on(gpu));
    held.fold(0, u64::saturating_add)
}
