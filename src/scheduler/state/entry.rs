//! One model that is loaded or wanted, and its phase.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::KeepAlive;
use crate::protocol::LoadedInfo;
use crate::scheduler::ModelSpec;
use crate::scheduler::event::{Effect, EntryId, WaiterId};
use crate::scheduler::placement::LoadPlan;

/// How long a model stays after people used it, while only a batch job wants its room.
const PEOPLE_COME_BACK: Duration = Duration::from_secs(60);

/// A model's turn: while it is in use, it makes no room for another model for this long after its load. Without
/// that, two models that do not fit together would be reloaded for every request.
const TURN: Duration = Duration::from_secs(10);

/// Requests after which a turn lasts only as long as the load took.
const TURN_REQUESTS: u32 = 8;

/// How long a model without requests is kept in its turn for the next request: a part (one in `LINGER_PART`) of
/// its load time, at most `LINGER`.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_PART: u32 = 4;

/// One model.
#[derive(Debug)]
pub(in crate::scheduler) struct Entry {
    pub(in crate::scheduler) id: EntryId,
    /// The request that it was (or will be) loaded for.
    pub(in crate::scheduler) spec: ModelSpec,
    pub(in crate::scheduler) phase: Phase,
    /// How it was loaded; `None` while it is queued.
    pub(super) plan: Option<LoadPlan>,
    pub(super) waiters: VecDeque<Waiter>,
    pub(in crate::scheduler) n_active: usize,
    /// The same by origin; none is zero.
    origins: BTreeMap<Arc<str>, usize>,
    /// Requests that were refused because too many wait, less the places that have become free since.
    pub(super) n_refused: u32,
    pub(in crate::scheduler) keep_alive: KeepAlive,
    /// When an idle model is unloaded.
    pub(in crate::scheduler) deadline: Option<Instant>,
    pub(super) last_used: Instant,
    /// When it was loaded, and how many leases it has granted since.
    loaded_at: Option<Instant>,
    n_granted: u32,
    /// People have used it since it was last idle; and when it last became idle after that.
    pub(super) had_people: bool,
    pub(super) last_person: Option<Instant>,
    /// A GPU that it is on is gone.
    pub(super) is_lost: bool,
    /// Loads that failed for lack of memory: each makes the next pool smaller.
    pub(super) n_shrinks: u32,
}

/// The phase of an entry.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::scheduler) enum Phase {
    Queued,
    Loading,
    Ready(Box<LoadedInfo>),
    Draining(Box<LoadedInfo>),
    Stopping,
}

/// One request that waits for the model.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) id: WaiterId,
    pub(super) spec: Box<ModelSpec>,
    pub(super) keep_alive: Option<KeepAlive>,
    pub(super) since: Instant,
}

impl Entry {
    /// An entry that waits for its load.
    pub(super) fn queued(id: EntryId, waiter: Waiter, keep_alive: KeepAlive, now: Instant) -> Self {
        Self {
            id,
            spec: (*waiter.spec).clone(),
            phase: Phase::Queued,
            plan: None,
            keep_alive,
            waiters: VecDeque::from([waiter]),
            n_active: 0,
            origins: BTreeMap::new(),
            n_refused: 0,
            deadline: None,
            last_used: now,
            loaded_at: None,
            n_granted: 0,
            had_people: false,
            last_person: None,
            is_lost: false,
            n_shrinks: 0,
        }
    }

    /// Whether only batch jobs wait for it.
    pub(super) fn is_wanted_by_jobs_only(&self) -> bool {
        self.waiters.iter().all(|waiter| waiter.spec.is_job)
    }

    /// Until when a job cannot evict it, after people used it.
    pub(super) fn is_peoples_until(&self) -> Option<Instant> {
        self.last_person.map(|last| last + PEOPLE_COME_BACK)
    }

    /// Whether people have used it since it was loaded.
    pub(super) fn is_peoples(&self) -> bool {
        self.had_people || self.last_person.is_some()
    }

    /// Until when its turn lasts, as of now.
    pub(super) fn has_turn_until(&self) -> Option<Instant> {
        let Phase::Ready(info) = &self.phase else {
            return None;
        };
        let loaded_at = self.loaded_at?;
        let load = Duration::try_from_secs_f64(info.load_ms / 1000.0).unwrap_or_default();
        let turn = if self.n_granted < TURN_REQUESTS {
            TURN
        } else {
            load.min(TURN)
        };
        let end = loaded_at + turn;
        if self.is_idle() {
            return Some(end.min(self.last_used + (load / LINGER_PART).min(LINGER)));
        }
        Some(end)
    }

    /// How long its first request has waited.
    pub(super) fn has_waited(&self, now: Instant) -> Duration {
        let first = self.waiters.front();
        first.map_or(Duration::ZERO, |first| now.duration_since(first.since))
    }

    /// Whether it holds memory or is about to.
    pub(super) fn is_resident(&self) -> bool {
        self.phase != Phase::Queued
    }

    /// How it was loaded.
    pub(in crate::scheduler) fn plan(&self) -> Option<&LoadPlan> {
        self.plan.as_ref()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.n_active == 0
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready(_))
    }

    pub(super) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining(_))
    }

    pub(super) fn serves(&self, spec: &ModelSpec) -> bool {
        self.spec.weights == spec.weights
            && self.spec.projector == spec.projector
            && self.spec.adapters == spec.adapters
    }

    /// Whether the loaded runner cannot serve a request with its options. An option that is not set never
    /// causes a reload. An option that only changes the speed is no reason to make others wait: it counts only
    /// while no other request uses the runner.
    pub(super) fn needs_reload(&self, spec: &ModelSpec) -> bool {
        let (have, want) = (&self.spec.options, &spec.options);
        let wants_layers = want.num_gpu >= 0 && want.num_gpu != have.num_gpu;
        let wants_gpu = want.main_gpu.is_some() && want.main_gpu != have.main_gpu;
        let wants_threads = want.num_thread > 0 && want.num_thread != have.num_thread;
        let wants_mmap = want.use_mmap.is_some() && want.use_mmap != have.use_mmap;
        let wants_draft = spec.wants_other_draft(&self.spec);
        let wants_speed = self.is_idle() && (wants_threads || wants_mmap);
        wants_layers || wants_gpu || wants_speed || wants_draft || self.is_too_small(spec)
    }

    /// Whether the request wants more context than the pool has, and a reload could provide it.
    fn is_too_small(&self, spec: &ModelSpec) -> bool {
        let Some(plan) = &self.plan else { return false };
        let trained = match spec.dims.n_ctx_train {
            0 => u32::MAX,
            trained => trained,
        };
        let num_ctx = spec.options.num_ctx.unwrap_or_default();
        num_ctx.min(trained).min(plan.n_ctx_most) > plan.shape.n_ctx_pool
    }

    /// Takes the options of the first waiter, with the largest context that any of them wants, so
    /// that one load serves as many as possible.
    pub(super) fn adopt_wishes(&mut self) {
        let Some(first) = self.waiters.front() else {
            return;
        };
        self.spec = (*first.spec).clone();
        self.spec.options.num_ctx = self
            .waiters
            .iter()
            .filter_map(|waiter| waiter.spec.options.num_ctx)
            .max();
    }

    /// Notes the result of the load.
    pub(super) fn set_loaded(&mut self, info: Box<LoadedInfo>, now: Instant) {
        if let Some(plan) = &mut self.plan {
            if info.n_ctx_pool < plan.shape.n_ctx_pool {
                // Another load would not give more, so no request may wait for one.
                plan.n_ctx_most = info.n_ctx_pool;
            }
            plan.shape.n_ctx_pool = info.n_ctx_pool;
            for card in &mut plan.cards {
                if let Some(taken) = info.memory.get(&card.name) {
                    card.bytes = taken.total();
                }
            }
        }
        self.phase = Phase::Ready(info);
        self.last_used = now;
        self.loaded_at = Some(now);
        self.n_granted = 0;
        self.n_shrinks = 0;
    }

    /// Grants leases to the requests that the loaded runner can serve; the others stay queued.
    pub(super) fn grant_fitting(&mut self, effects: &mut Vec<Effect>) {
        for waiter in std::mem::take(&mut self.waiters) {
            if self.needs_reload(&waiter.spec) {
                self.waiters.push_back(waiter);
            } else {
                self.grant(&waiter, effects);
            }
        }
    }

    /// Whether the queue for slots is full for another request of this origin.
    pub(super) fn is_full(&self, max_queue: usize, origin: &str) -> bool {
        let (Phase::Ready(info) | Phase::Draining(info)) = &self.phase else {
            return false;
        };
        let n_waiting = self.n_active.saturating_sub(info.n_slots as usize);
        let n_of_origin = self.origins.get(origin).copied().unwrap_or_default();
        is_full(n_waiting, n_of_origin, max_queue)
    }

    pub(super) fn grant(&mut self, waiter: &Waiter, effects: &mut Vec<Effect>) {
        if let Some(keep_alive) = waiter.keep_alive {
            self.keep_alive = keep_alive;
        }
        self.n_active += 1;
        self.n_granted = self.n_granted.saturating_add(1);
        let origin = Arc::clone(&waiter.spec.origin);
        *self.origins.entry(Arc::clone(&origin)).or_default() += 1;
        self.had_people |= !waiter.spec.is_job;
        self.deadline = None;
        effects.push(Effect::Grant {
            waiter: waiter.id,
            entry: self.id,
            origin,
        });
    }

    /// A lease of this origin was given back.
    pub(super) fn count_released(&mut self, origin: &str) {
        self.n_active = self.n_active.saturating_sub(1);
        self.n_refused = self.n_refused.saturating_sub(1);
        if let Some(n) = self.origins.get_mut(origin) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                self.origins.remove(origin);
            }
        }
    }

    /// Grants no more leases; the model is unloaded when the last lease is gone.
    pub(super) fn drain(&mut self, effects: &mut Vec<Effect>) {
        if let Phase::Ready(info) = &self.phase {
            self.phase = Phase::Draining(info.clone());
            self.deadline = None;
        }
        self.stop_if_drained(effects);
    }

    /// Keeps a draining entry loaded after all.
    pub(super) fn revive(&mut self) {
        if let Phase::Draining(info) = &self.phase {
            self.phase = Phase::Ready(info.clone());
        }
    }

    pub(super) fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Stopping;
        self.deadline = None;
        effects.push(Effect::Stop(self.id));
    }

    pub(super) fn stop_if_drained(&mut self, effects: &mut Vec<Effect>) {
        if self.is_draining() && self.is_idle() {
            self.stop(effects);
        }
    }
}

/// Whether the queue is full for one more request. Beyond the limit an origin with few requests in the queue
/// still finds room, up to twice the limit, so that an origin with many does not lock others out.
pub(super) fn is_full(n_waiting: usize, n_of_origin: usize, max_queue: usize) -> bool {
    let most = max_queue.max(1);
    let few = (most / 8).max(1);
    n_waiting >= most && (n_of_origin >= few || n_waiting >= most.saturating_mul(2))
}
