//! The state machine with a manual clock: events in, effects out.

use tokio::time::Instant;

use super::*;
use crate::scheduler::event::{Effect, Event, LoadFailure, World};
use crate::scheduler::state::{Limits, State};

/// The state with a manual clock.
pub(super) struct Bench {
    pub(super) state: State,
    pub(super) now: Instant,
    pub(super) machine: Snapshot,
    pub(super) devices_known: bool,
    next_waiter: u64,
    /// The effects of the last event: `spawn 1`, `grant 7 1`, …
    pub(super) effects: Vec<Effect>,
}

impl Bench {
    pub(super) fn new(machine: Snapshot, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits {
            max_loaded: 0,
            max_queue: 512,
            keep_alive: KeepAlive::For(Duration::from_secs(300)),
            policy: policy(),
        };
        change(&mut limits);
        let mut bench = Self {
            state: State::new(limits),
            now: Instant::now(),
            machine,
            devices_known: true,
            next_waiter: 100,
            effects: Vec::new(),
        };
        bench.event(Event::Devices { obstacle: None });
        bench
    }

    /// A CPU machine with the usual settings.
    pub(super) fn usual() -> Self {
        Self::new(cpu_machine(), |_| ())
    }

    pub(super) fn event(&mut self, event: Event) -> Vec<String> {
        let machine = &self.machine;
        let world = World {
            now: self.now,
            snapshot: &|| machine.clone(),
            wait: &|entry, n_before| Some(Duration::from_secs(entry * 100 + u64::from(n_before))),
            devices_known: self.devices_known,
        };
        self.effects = self.state.handle(event, &world);
        self.effects.iter().map(shown).collect()
    }

    /// Requests a model; waiters are numbered from 101 on.
    pub(super) fn acquire(&mut self, spec: &ModelSpec) -> Vec<String> {
        self.acquire_for(spec, None)
    }

    pub(super) fn acquire_for(
        &mut self,
        spec: &ModelSpec,
        keep_alive: Option<KeepAlive>,
    ) -> Vec<String> {
        self.next_waiter += 1;
        self.event(Event::Acquire {
            waiter: self.next_waiter,
            spec: Box::new(spec.clone()),
            keep_alive,
        })
    }

    /// The load of an entry succeeds as it was planned.
    pub(super) fn loaded(&mut self, entry: u64) -> Vec<String> {
        let n_ctx_pool = self.plan(entry).shape.n_ctx_pool;
        let info = LoadedInfo {
            n_ctx_pool,
            n_ctx_train: 8192,
            ..LoadedInfo::default()
        };
        self.event(Event::Loaded {
            entry,
            info: Box::new(info),
        })
    }

    pub(super) fn plan(&self, entry: u64) -> placement::LoadPlan {
        let entries = self.state.entries();
        let entry = entries.iter().find(|known| known.id == entry).unwrap();
        entry.plan().unwrap().clone()
    }

    /// The load of an entry fails: with a refusal, unless `change` makes it another failure.
    pub(super) fn failed(
        &mut self,
        entry: u64,
        change: impl FnOnce(&mut LoadFailure),
    ) -> Vec<String> {
        let mut failure = LoadFailure {
            error: AcquireError::LoadFailed("no".to_owned()),
            crashed: false,
            short_of_memory: false,
        };
        change(&mut failure);
        self.event(Event::LoadFailed { entry, failure })
    }

    pub(super) fn released(&mut self, entry: u64) -> Vec<String> {
        self.event(Event::Released(entry, "".into()))
    }

    pub(super) fn exited(&mut self, entry: u64) -> Vec<String> {
        self.event(Event::Exited(entry))
    }

    pub(super) fn canceled(&mut self, waiter: u64) -> Vec<String> {
        self.event(Event::Canceled(waiter))
    }

    /// Moves the clock and fires the timer.
    pub(super) fn after(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        self.event(Event::Tick)
    }

    /// Loads a model and gives the lease back.
    pub(super) fn load_idle(&mut self, spec: &ModelSpec, entry: u64) {
        let spawn = format!("spawn {entry}");
        assert!(self.acquire(spec).contains(&spawn), "{:?}", self.effects);
        let grant = format!("grant {} {entry}", self.next_waiter);
        assert_eq!(self.loaded(entry), [grant]);
        assert_eq!(self.released(entry), NONE);
        self.now += Duration::from_secs(1);
    }

    pub(super) fn n_active(&self, entry: u64) -> usize {
        let entries = self.state.entries();
        entries
            .iter()
            .find(|known| known.id == entry)
            .unwrap()
            .n_active
    }
}

pub(super) const NONE: [&str; 0] = [];

fn shown(effect: &Effect) -> String {
    match effect {
        Effect::Spawn { entry, .. } => format!("spawn {entry}"),
        Effect::Measure { .. } => "measure".to_owned(),
        Effect::Abort(entry) => format!("abort {entry}"),
        Effect::Stop(entry) => format!("stop {entry}"),
        Effect::Grant { waiter, entry, .. } => format!("grant {waiter} {entry}"),
        Effect::Refuse { waiter, error } => format!("refuse {waiter}: {error}"),
    }
}
