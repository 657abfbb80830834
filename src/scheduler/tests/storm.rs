//! Any order of events: no request is forgotten or answered twice, and the accounting stays right.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::protocol::{HOST, Measured, MemoryUse};
use crate::scheduler::event::{Effect, Event, LoadFailure, World};
use crate::scheduler::state::{Limits, MeasureKey, State};

/// An event; the numbers choose among the existing objects.
#[derive(Debug, Clone)]
enum Move {
    Acquire(Box<ModelSpec>, Option<KeepAlive>),
    Cancel(usize),
    Release(usize),
    /// A load ends; it took this percentage of the planned memory.
    Loaded(usize, u64),
    LoadFailed(usize, LoadFailure),
    /// A process ends, as asked or not.
    Exit(usize),
    Unload(usize),
    Wait(u64),
    /// The answer to a measurement: this percentage of the true memory, or none.
    Measured(usize, Option<u64>),
    /// A GPU is lost, comes back, or is filled by another program.
    Gpus(usize, GpuChange),
}

#[derive(Debug, Clone, Copy)]
enum GpuChange {
    Gone,
    Back,
    Filled,
}

/// The actor's side, without processes.
struct Stage {
    state: State,
    /// The machine as it is, and with all its GPUs.
    machine: Snapshot,
    whole: Snapshot,
    now: Instant,
    next_waiter: u64,
    measuring: Vec<MeasureKey>,
    waiting: BTreeSet<u64>,
    loading: Vec<u64>,
    running: Vec<u64>,
    stopping: Vec<u64>,
    leases: Vec<u64>,
}

impl Stage {
    fn new(machine: Snapshot) -> Self {
        let limits = Limits {
            max_loaded: 0,
            max_queue: 8,
            keep_alive: KeepAlive::For(Duration::from_secs(60)),
            policy: placement::Policy {
                measures: true,
                ..policy()
            },
        };
        let mut world = Self {
            state: State::new(limits),
            whole: machine.clone(),
            machine,
            measuring: Vec::new(),
            now: Instant::now(),
            next_waiter: 0,
            waiting: BTreeSet::new(),
            loading: Vec::new(),
            running: Vec::new(),
            stopping: Vec::new(),
            leases: Vec::new(),
        };
        world.event(Event::Devices { obstacle: None });
        world
    }

    fn event(&mut self, event: Event) {
        let machine = &self.machine;
        let world = World {
            now: self.now,
            snapshot: &|| machine.clone(),
            wait: &|_, _| None,
            devices_known: true,
        };
        for effect in self.state.handle(event, &world) {
            match effect {
                Effect::Spawn { entry, plan } => {
                    assert!(self.loading.is_empty(), "one load at a time");
                    assert!(
                        plan.shape.n_ctx_pool > 0
                            && plan.shape.n_slots > 0
                            && plan.shape.n_batch > 0
                    );
                    self.loading.push(entry);
                    self.check_memory(entry);
                }
                Effect::Measure { key, params } => {
                    assert!(!self.measuring.contains(&key), "a question is asked once");
                    assert!(!params.shapes.is_empty());
                    self.measuring.push(*key);
                }
                Effect::Abort(entry) => self.loading.retain(|&other| other != entry),
                Effect::Stop(entry) => {
                    assert!(self.running.contains(&entry), "only what runs is stopped");
                    assert!(
                        !self.leases.contains(&entry),
                        "nothing is stopped under a lease"
                    );
                    assert!(!self.stopping.contains(&entry), "once");
                    self.stopping.push(entry);
                }
                Effect::Grant { waiter, entry, .. } => {
                    assert!(self.waiting.remove(&waiter), "one answer for each");
                    assert!(self.running.contains(&entry) && !self.stopping.contains(&entry));
                    self.leases.push(entry);
                }
                Effect::Refuse { waiter, .. } => {
                    assert!(self.waiting.remove(&waiter), "one answer for each");
                }
            }
        }
        for entry in self.state.entries() {
            let held = self.leases.iter().filter(|&&lease| lease == entry.id);
            assert_eq!(entry.n_active, held.count(), "the books of {}", entry.id);
        }
    }

    /// Checks that a new load plans no more of a GPU than the other models leave, which may have taken more
    /// than planned.
    fn check_memory(&self, new: u64) {
        for gpu in &self.machine.gpus {
            let held = |is_new| {
                let entries = self.state.entries().iter();
                let entries = entries.filter(|entry| (entry.id == new) == is_new);
                let plans = entries.filter_map(|entry| entry.plan());
                plans.map(|plan| plan.bytes_on(gpu.index)).sum::<u64>()
            };
            let left = gpu.total_bytes.saturating_sub(held(false));
            assert!(
                held(true) <= left,
                "{} of {left} on {}",
                held(true),
                gpu.name
            );
        }
    }

    /// What a load has taken, on no card more than the card has.
    fn taken(&self, entry: u64, percent: u64) -> MemoryUse {
        let mut taken = MemoryUse::default();
        let entries = self.state.entries().iter();
        let plan = entries
            .filter(|known| known.id == entry)
            .find_map(|known| known.plan());
        for card in plan.iter().flat_map(|plan| &plan.cards) {
            let gpus = self.whole.gpus.iter();
            let total = gpus
                .filter(|gpu| gpu.index == card.index)
                .map(|gpu| gpu.total_bytes);
            let bytes = card.bytes / 100 * percent;
            taken.on(&card.name).weights = bytes.min(total.sum());
        }
        taken
    }

    fn step(&mut self, step: Move) {
        match step {
            Move::Acquire(spec, keep_alive) => {
                self.next_waiter += 1;
                self.waiting.insert(self.next_waiter);
                self.event(Event::Acquire {
                    waiter: self.next_waiter,
                    spec,
                    keep_alive,
                });
            }
            Move::Cancel(n) => {
                let waiter = n.checked_rem(self.waiting.len());
                let waiter = waiter.and_then(|n| self.waiting.iter().nth(n).copied());
                if let Some(waiter) = waiter {
                    self.waiting.remove(&waiter);
                    self.event(Event::Canceled(waiter));
                }
            }
            Move::Release(n) => {
                if let Some(lease) = take(&mut self.leases, n) {
                    self.event(Event::Released(lease, "".into()));
                }
            }
            Move::Loaded(n, percent) => {
                if let Some(entry) = take(&mut self.loading, n) {
                    self.running.push(entry);
                    let memory = self.taken(entry, percent);
                    let info = Box::new(LoadedInfo {
                        n_ctx_pool: 8192,
                        n_ctx_train: 8192,
                        memory,
                        ..LoadedInfo::default()
                    });
                    self.event(Event::Loaded { entry, info });
                }
            }
            Move::LoadFailed(n, failure) => {
                if let Some(entry) = take(&mut self.loading, n) {
                    self.event(Event::LoadFailed { entry, failure });
                }
            }
            Move::Exit(n) => {
                if let Some(entry) = take(&mut self.running, n) {
                    self.stopping.retain(|&other| other != entry);
                    self.event(Event::Exited(entry));
                }
            }
            Move::Measured(n, percent) => {
                if let Some(n) = n.checked_rem(self.measuring.len()) {
                    let key = Box::new(self.measuring.remove(n));
                    let measured = percent.map(measured);
                    self.event(Event::Measured { key, measured });
                }
            }
            Move::Gpus(n, change) => {
                let Some(n) = n.checked_rem(self.whole.gpus.len()) else {
                    return;
                };
                let gpu = self.whole.gpus[n].clone();
                self.machine.gpus.retain(|other| other.index != gpu.index);
                match change {
                    GpuChange::Gone => {}
                    GpuChange::Back => self.machine.gpus.push(gpu),
                    GpuChange::Filled => self.machine.gpus.push(DeviceInfo {
                        free_bytes: 100 * MIB,
                        ..gpu
                    }),
                }
                self.event(Event::Devices { obstacle: None });
            }
            Move::Unload(n) => self.event(Event::Unload {
                weights: PathBuf::from(format!("m{}", n % 5)),
            }),
            Move::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.event(Event::Tick);
            }
        }
    }

    /// Lets everything succeed from here on; then every request has been served.
    fn settle(&mut self) {
        for _ in 0..100 {
            while !self.measuring.is_empty() {
                self.step(Move::Measured(0, None));
            }
            self.step(Move::Loaded(0, 100));
            while !self.leases.is_empty() {
                self.step(Move::Release(0));
            }
            while let Some(&entry) = self.stopping.first() {
                let index = self.running.iter().position(|&other| other == entry);
                self.step(Move::Exit(index.unwrap()));
            }
        }
        assert!(self.waiting.is_empty(), "forgotten: {:?}", self.waiting);
        self.step(Move::Wait(100_000));
    }
}

/// A measurement of a 2 GiB model in all shapes, wrong by this percentage.
fn measured(percent: u64) -> Measured {
    let mut found = MemoryUse::default();
    found.on("CUDA0").weights = 2 * GIB / 100 * percent;
    found.on(HOST).weights = 2 * GIB / 100 * percent;
    Measured(vec![Some(found); 6])
}

fn take(list: &mut Vec<u64>, n: usize) -> Option<u64> {
    let index = n.checked_rem(list.len())?;
    Some(list.remove(index))
}

fn moves() -> impl Strategy<Value = Move> {
    let keep_alive = prop_oneof![
        Just(None),
        Just(Some(KeepAlive::Forever)),
        (0_u64..100).prop_map(|n| Some(KeepAlive::For(Duration::from_secs(n)))),
    ];
    let options = (
        prop::option::of(1_u32..20_000),
        prop_oneof![Just(-1), Just(0), Just(4)],
        0_u32..3,
    );
    let spec = (0_u64..5, options).prop_map(|(model, (num_ctx, num_gpu, num_thread))| {
        with(spec(&format!("m{model}"), 1 + model * 3), |options| {
            options.num_ctx = num_ctx;
            options.num_gpu = num_gpu;
            options.num_thread = num_thread;
        })
    });
    let failure = (any::<bool>(), any::<bool>()).prop_map(|(crashed, short)| LoadFailure {
        error: AcquireError::LoadFailed("no".to_owned()),
        crashed,
        short_of_memory: short,
    });
    let n = 0_usize..16;
    prop_oneof![
        6 => (spec, keep_alive).prop_map(|(spec, keep_alive)| Move::Acquire(Box::new(spec), keep_alive)),
        2 => n.clone().prop_map(Move::Cancel),
        5 => n.clone().prop_map(Move::Release),
        4 => (n.clone(), 0_u64..300).prop_map(|(n, percent)| Move::Loaded(n, percent)),
        1 => (n.clone(), failure).prop_map(|(n, failure)| Move::LoadFailed(n, failure)),
        3 => n.clone().prop_map(Move::Exit),
        1 => n.prop_map(Move::Unload),
        1 => (0_u64..90).prop_map(Move::Wait),
        3 => (0_usize..16, prop::option::of(0_u64..300)).prop_map(|(n, percent)| Move::Measured(n, percent)),
        1 => (0_usize..4, prop_oneof![
            Just(GpuChange::Gone),
            Just(GpuChange::Back),
            Just(GpuChange::Filled),
        ]).prop_map(|(n, change)| Move::Gpus(n, change)),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_everybody_is_answered(
        steps in prop::collection::vec(moves(), 1..80),
        gpus in prop_oneof![
            Just(Vec::new()),
            Just(vec![8_192]),
            Just(vec![16_376, 6_144]),
            Just(vec![8_192, 8_192, 8_192]),
        ],
    ) {
        let mut world = Stage::new(gpu_machine(&gpus));
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}
