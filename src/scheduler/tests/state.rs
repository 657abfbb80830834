//! Events in, effects out.

use tokio::time::Instant;

use super::*;
use crate::scheduler::event::{Effect, Event, LoadFailure, World};
use crate::scheduler::state::{Limits, Phase, State};

/// The state with a clock that is moved by hand.
pub(super) struct Bench {
    state: State,
    now: Instant,
    pub(super) machine: Snapshot,
    devices_known: bool,
    next_waiter: u64,
    /// What the last event brought about, `spawn 1`, `grant 7 1`, …
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

    /// Asks for a model; waiters are numbered from 101 on.
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

    /// The load of an entry fails; `change` says how else than by a refusal.
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

    /// Time passes, and the timer goes off.
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

fn num_ctx(spec: ModelSpec, num_ctx: u32) -> ModelSpec {
    with(spec, |options| options.num_ctx = Some(num_ctx))
}

#[test]
fn different_contexts_cause_no_reload() {
    let mut bench = Bench::usual();
    assert_eq!(bench.acquire(&num_ctx(spec("a", 1), 2048)), ["spawn 1"]);
    assert_eq!(bench.loaded(1), ["grant 101 1"]);
    assert_eq!(bench.acquire(&num_ctx(spec("a", 1), 4096)), ["grant 102 1"]);
    assert_eq!(bench.acquire(&spec("a", 1)), ["grant 103 1"]);
    // More than the model was trained for is no reason either.
    assert_eq!(
        bench.acquire(&num_ctx(spec("a", 1), 1 << 20)),
        ["grant 104 1"]
    );
}

#[test]
fn a_context_beyond_the_pool_is_loaded_once() {
    let long = |context| {
        let mut spec = num_ctx(spec("a", 1), context);
        spec.dims.n_ctx_train = 1 << 20;
        spec
    };
    let mut bench = Bench::usual();
    bench.acquire(&long(2048));
    bench.loaded(1);
    assert!(bench.plan(1).shape.n_ctx_pool < 200_000);
    assert_eq!(
        bench.acquire(&long(200_000)),
        NONE,
        "waits for the first request"
    );
    assert_eq!(bench.released(1), ["stop 1"]);
    assert_eq!(bench.exited(1), ["spawn 2"]);
    assert_eq!(bench.loaded(2), ["grant 102 2"]);
    // From now on both are served; nor does more than the memory holds cause a reload.
    assert_eq!(bench.acquire(&long(2048)), ["grant 103 2"]);
    assert!(bench.plan(2).shape.n_ctx_pool >= 200_000);
}

#[test]
fn one_load_serves_the_longest_context_that_waits() {
    let mut long = num_ctx(spec("a", 1), 100_000);
    long.dims.n_ctx_train = 1 << 20;
    let mut bench = Bench::usual();
    bench.devices_known = false;
    assert_eq!(bench.acquire(&spec("a", 1)), NONE);
    assert_eq!(bench.acquire(&long), NONE);
    bench.devices_known = true;
    assert_eq!(bench.event(Event::Devices { obstacle: None }), ["spawn 1"]);
    assert_eq!(bench.loaded(1), ["grant 101 1", "grant 102 1"]);
}

#[test]
fn a_pool_smaller_than_planned_is_no_reason_to_load_for_ever() {
    let mut bench = Bench::usual();
    bench.acquire(&num_ctx(spec("a", 1), 8192));
    let info = LoadedInfo {
        n_ctx_pool: 1024,
        ..LoadedInfo::default()
    };
    let loaded = Event::Loaded {
        entry: 1,
        info: Box::new(info),
    };
    assert_eq!(bench.event(loaded), ["grant 101 1"]);
}

#[test]
fn a_load_goes_on_for_those_who_still_wait() {
    let mut bench = Bench::usual();
    assert_eq!(bench.acquire(&spec("a", 1)), ["spawn 1"]);
    assert_eq!(bench.acquire(&spec("a", 1)), NONE, "joins the load");
    assert_eq!(bench.canceled(101), NONE);
    assert_eq!(bench.loaded(1), ["grant 102 1"]);

    assert_eq!(bench.acquire(&spec("b", 1)), ["spawn 2"]);
    assert_eq!(bench.canceled(103), ["abort 2"]);
    // It was done at that very moment.
    let info = Box::new(LoadedInfo::default());
    assert_eq!(bench.event(Event::Loaded { entry: 2, info }), ["stop 2"]);
}

#[test]
fn a_busy_victim_takes_no_new_requests() {
    let mut bench = Bench::usual();
    let (old, new) = (spec("old", 12), spec("new", 12));
    bench.acquire(&old);
    bench.loaded(1);
    assert_eq!(bench.acquire(&old), ["grant 102 1"]);
    assert_eq!(bench.acquire(&new), NONE);
    for _ in 0..5 {
        assert_eq!(bench.acquire(&old), NONE, "waits");
    }
    assert_eq!(bench.released(1), NONE);
    assert_eq!(bench.released(1), ["stop 1"]);
    assert_eq!(bench.exited(1), ["spawn 2"]);
    assert_eq!(bench.loaded(2), ["grant 103 2"]);
    // Those of the old model come next, all on one load.
    assert_eq!(bench.released(2), ["stop 2"]);
    assert_eq!(bench.exited(2), ["spawn 3"]);
    assert_eq!(bench.loaded(3).len(), 5);
}

#[test]
fn a_keep_alive_does_not_save_the_victim() {
    let mut bench = Bench::usual();
    let (old, new) = (spec("old", 12), spec("new", 12));
    bench.acquire(&old);
    bench.loaded(1);
    bench.acquire(&new);
    assert_eq!(bench.acquire_for(&old, Some(KeepAlive::Forever)), NONE);
    assert_eq!(bench.released(1), ["stop 1"]);
}

#[test]
fn a_victim_lives_on_when_the_newcomer_leaves() {
    let mut bench = Bench::usual();
    let (old, new) = (spec("old", 12), spec("new", 12));
    bench.acquire(&old);
    bench.loaded(1);
    bench.acquire(&new);
    assert_eq!(bench.acquire(&old), NONE);
    assert_eq!(bench.canceled(102), ["grant 103 1"]);
    assert_eq!(bench.acquire(&old), ["grant 104 1"]);
}

#[test]
fn the_queue_has_a_limit() {
    let mut bench = Bench::new(cpu_machine(), |limits| limits.max_queue = 1);
    assert_eq!(bench.acquire(&spec("a", 1)), ["spawn 1"]);
    assert_eq!(
        bench.acquire(&spec("a", 1)),
        ["refuse 102: server busy, please try again.  maximum pending requests exceeded"]
    );
    assert_eq!(bench.canceled(101), ["abort 1"]);
    assert_eq!(bench.acquire(&spec("a", 1)), ["spawn 2"]);
    assert_eq!(bench.loaded(2), ["grant 103 2"]);
    // A loaded model's waiters are with its runner: beside its slots (here none) as many.
    assert_eq!(bench.acquire(&spec("b", 1)), ["spawn 3"]);
    assert_eq!(
        bench.acquire(&spec("a", 1)),
        ["refuse 105: server busy, please try again.  maximum pending requests exceeded"]
    );
    assert_eq!(bench.released(2), NONE);
    assert_eq!(bench.acquire(&spec("a", 1)), ["grant 106 2"]);
}

#[test]
fn who_is_refused_hears_when_a_place_may_be_free() {
    let mut bench = Bench::new(cpu_machine(), |limits| limits.max_queue = 2);
    let one = spec("a", 1);
    let wait = |bench: &mut Bench| {
        bench.acquire(&one);
        match bench.effects.as_slice() {
            [
                Effect::Refuse {
                    error: AcquireError::Overloaded { wait: Some(wait) },
                    ..
                },
            ] => wait.as_secs(),
            other => panic!("{other:?}"),
        }
    };
    bench.acquire(&one);
    bench.now += Duration::from_secs(7);
    bench.acquire(&one);
    // A load that has taken so long.
    assert_eq!(wait(&mut bench), 7);
    bench.loaded(1);
    // Each place that becomes free is that of one who was refused before.
    assert_eq!([100, 101, 102], [(); 3].map(|()| wait(&mut bench)));
    bench.released(1);
    bench.released(1);
    bench.acquire(&one);
    bench.acquire(&one);
    assert_eq!([101, 102], [(); 2].map(|()| wait(&mut bench)));
}

#[test]
fn who_sends_many_leaves_room_for_others() {
    let mut bench = Bench::new(cpu_machine(), |limits| limits.max_queue = 16);
    let of = |origin: &str| ModelSpec {
        origin: origin.into(),
        ..spec("a", 1)
    };
    let enters = |bench: &mut Bench, origin: &str| {
        let effects = bench.acquire(&of(origin));
        !effects.iter().any(|effect| effect.starts_with("refuse"))
    };
    let count = |bench: &mut Bench, origin: &str, n: usize| {
        let entering = (0..n).filter(|_| enters(bench, origin));
        entering.count()
    };
    // They wait for the load.
    assert_eq!(count(&mut bench, "many", 20), 16);
    assert_eq!(count(&mut bench, "one", 5), 2);
    // They wait for a slot.
    bench.loaded(1);
    assert_eq!(count(&mut bench, "many", 5), 0);
    assert_eq!(count(&mut bench, "one", 5), 0);
    assert_eq!(count(&mut bench, "two", 5), 2);
    // All together are twice as many.
    let others = (0..40).filter(|number| enters(&mut bench, &number.to_string()));
    assert_eq!(16 + 2 + 2 + others.count(), 32);
    bench.event(Event::Released(1, "one".into()));
    assert_eq!(count(&mut bench, "many", 5), 0);
    assert_eq!(count(&mut bench, "one", 5), 1);
}

#[test]
fn a_refused_request_unloads_nothing() {
    let mut bench = Bench::new(cpu_machine(), |limits| limits.max_queue = 1);
    bench.load_idle(&spec("a", 1), 1);
    bench.acquire(&spec("b", 1));
    let other_options = with(spec("a", 1), |options| options.num_gpu = 2);
    assert!(bench.acquire(&other_options)[0].starts_with("refuse"));
    assert_eq!(bench.acquire(&spec("a", 1)), ["grant 104 1"]);
}

#[test]
fn a_runner_that_died_is_loaded_again_on_the_next_request() {
    let mut bench = Bench::usual();
    bench.acquire(&spec("a", 1));
    bench.loaded(1);
    assert_eq!(bench.exited(1), NONE);
    assert_eq!(bench.acquire(&spec("a", 1)), ["spawn 2"]);
    assert_eq!(bench.loaded(2), ["grant 102 2"]);
    // The lease of the dead runner comes back late.
    assert_eq!(bench.released(1), NONE);
    assert_eq!(bench.n_active(2), 1);
}

#[test]
fn keep_alive_in_all_forms() {
    let mut bench = Bench::usual();
    let seconds = |n| Some(KeepAlive::For(Duration::from_secs(n)));
    let a = spec("a", 1);
    bench.load_idle(&a, 1);
    bench.now -= Duration::from_secs(1);
    assert_eq!(bench.after(299), NONE);
    assert_eq!(bench.after(1), ["stop 1"]);
    bench.exited(1);

    bench.acquire_for(&a, seconds(0));
    bench.loaded(2);
    assert_eq!(bench.released(2), ["stop 2"]);
    bench.exited(2);

    bench.acquire_for(&a, Some(KeepAlive::Forever));
    bench.loaded(3);
    assert_eq!(bench.released(3), NONE);
    assert_eq!(bench.state.next_deadline(), None);
    // A request without one changes nothing, one with it does.
    bench.acquire(&a);
    bench.released(3);
    assert_eq!(bench.after(100_000), NONE);
    bench.acquire_for(&a, seconds(10));
    bench.released(3);
    assert_eq!(bench.after(9), NONE);
    // A new reference stops the timer; it starts again from the end.
    bench.acquire(&a);
    assert_eq!(bench.after(100), NONE);
    bench.released(3);
    assert_eq!(bench.after(9), NONE);
    assert_eq!(bench.after(1), ["stop 3"]);
}

#[test]
fn unloading_waits_for_running_requests() {
    let mut bench = Bench::usual();
    let unload = || Event::Unload {
        weights: PathBuf::from("a"),
    };
    bench.load_idle(&spec("a", 1), 1);
    assert_eq!(bench.event(unload()), ["stop 1"]);
    bench.exited(1);
    assert_eq!(bench.event(unload()), NONE);
    bench.acquire(&spec("a", 1));
    bench.loaded(2);
    assert_eq!(bench.event(unload()), NONE);
    assert_eq!(bench.released(2), ["stop 2"]);
    // The next load knows nothing of it.
    assert_eq!(bench.acquire(&spec("a", 1)), NONE);
    assert_eq!(bench.exited(2), ["spawn 3"]);
    bench.loaded(3);
    assert_eq!(bench.released(3), NONE);
}

#[test]
fn the_least_recently_used_model_goes_not_the_shortest_timer() {
    let mut bench = Bench::usual();
    bench.load_idle(&spec("a", 5), 1);
    bench.acquire_for(&spec("b", 5), Some(KeepAlive::For(Duration::from_secs(60))));
    bench.loaded(2);
    bench.released(2);
    assert_eq!(bench.acquire(&spec("c", 10)), ["stop 1"]);
    assert_eq!(bench.exited(1), ["spawn 3"]);
}

#[test]
fn pinned_models_go_last() {
    let mut bench = Bench::usual();
    bench.acquire_for(&spec("a", 5), Some(KeepAlive::Forever));
    bench.loaded(1);
    bench.released(1);
    bench.now += Duration::from_secs(1);
    bench.load_idle(&spec("b", 5), 2);
    assert_eq!(bench.acquire(&spec("c", 10)), ["stop 2"]);
    assert_eq!(bench.exited(2), ["spawn 3"]);
}

#[test]
fn only_as_many_models_go_as_are_needed() {
    let mut bench = Bench::usual();
    for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
        bench.load_idle(&spec(name, 3), id);
    }
    let mut limits_only = Bench::new(cpu_machine(), |limits| limits.max_loaded = 2);
    limits_only.load_idle(&spec("a", 1), 1);
    limits_only.load_idle(&spec("b", 1), 2);
    assert_eq!(limits_only.acquire(&spec("c", 1)), ["stop 1"]);
    assert_eq!(limits_only.exited(1), ["spawn 3"]);

    // Three without GPU; the fourth takes the place of the oldest.
    assert_eq!(bench.acquire(&spec("d", 3)), ["stop 1"]);
    assert_eq!(bench.exited(1), ["spawn 4"]);
}

#[test]
fn a_load_that_must_wait_does_not_block_one_that_fits() {
    let mut bench = Bench::usual();
    bench.acquire(&spec("busy", 12));
    bench.loaded(1);
    assert_eq!(bench.acquire(&spec("large", 12)), NONE);
    assert_eq!(bench.acquire(&spec("small", 1)), ["spawn 3"]);
    assert_eq!(bench.loaded(3), ["grant 103 3"]);
}

#[test]
fn options_of_the_load_are_compared() {
    let reloads = |loaded: fn(&mut Options), wanted: fn(&mut Options)| {
        let mut bench = Bench::usual();
        bench.load_idle(&with(spec("a", 1), loaded), 1);
        bench.acquire(&with(spec("a", 1), wanted)) == ["stop 1"]
    };
    assert!(reloads(|_| (), |o| o.num_thread = 3));
    assert!(reloads(|_| (), |o| o.num_gpu = 0));
    assert!(reloads(|_| (), |o| o.main_gpu = Some(1)));
    assert!(reloads(|_| (), |o| o.use_mmap = Some(false)));
    // What is not set never asks for anything, and sampling is not of the load.
    assert!(!reloads(|o| o.num_gpu = 7, |_| ()));
    assert!(!reloads(|o| o.num_thread = 3, |_| ()));
    assert!(!reloads(|_| (), |o| o.temperature = 0.0));
}

#[test]
fn nobody_waits_for_another_number_of_threads() {
    let mut bench = Bench::usual();
    bench.acquire(&spec("a", 1));
    bench.loaded(1);
    for other in [3, 4] {
        let wanted = with(spec("a", 1), |o| o.num_thread = other);
        assert!(bench.acquire(&wanted)[0].starts_with("grant"));
    }
}

#[test]
fn a_draft_model_is_loaded_for_who_wants_it() {
    let drafted = |n_predict: Option<u32>| {
        let mut spec = with(spec("a", 1), |o| o.draft_num_predict = n_predict);
        spec.draft = Some(DraftSpec {
            weights: ModelFile::original("draft"),
            dims: ModelDims::default(),
        });
        spec
    };
    let reloads = |loaded: &ModelSpec, wanted: &ModelSpec| {
        let mut bench = Bench::usual();
        bench.load_idle(loaded, 1);
        bench.acquire(wanted) == ["stop 1"]
    };
    let plain = spec("a", 1);
    assert!(reloads(&plain, &drafted(None)));
    assert!(reloads(&drafted(None), &drafted(Some(8))));
    assert!(!reloads(&drafted(Some(8)), &drafted(None)));
    assert!(!reloads(&drafted(None), &drafted(Some(4))));
    assert!(!reloads(&drafted(None), &plain));
}

#[test]
fn other_adapters_are_another_runner() {
    let mut bench = Bench::usual();
    bench.load_idle(&spec("a", 1), 1);
    let mut tuned = spec("a", 1);
    tuned.adapters.push(Adapter {
        path: PathBuf::from("lora"),
        scale: 1.0,
    });
    assert_eq!(bench.acquire(&tuned), ["spawn 2"]);
}

#[test]
fn a_failed_load_is_told_to_all_who_wait_and_tried_again_later() {
    let mut bench = Bench::usual();
    bench.acquire(&spec("a", 1));
    bench.acquire(&spec("a", 1));
    assert_eq!(
        bench.failed(1, |_| ()),
        ["refuse 101: no", "refuse 102: no"]
    );
    assert_eq!(bench.acquire(&spec("a", 1)), ["spawn 2"]);
}

#[test]
fn a_model_that_keeps_crashing_is_refused_for_a_minute() {
    let mut bench = Bench::usual();
    for entry in 1..=3 {
        assert_eq!(bench.acquire(&spec("a", 1)), [format!("spawn {entry}")]);
        bench.failed(entry, |failure| failure.crashed = true);
    }
    assert_eq!(bench.acquire(&spec("a", 1)), ["refuse 104: no"]);
    assert_eq!(bench.acquire(&spec("b", 1)), ["spawn 4"]);
    bench.loaded(4);
    bench.after(61);
    assert_eq!(bench.acquire(&spec("a", 1)), ["spawn 5"]);
}

#[test]
fn a_load_without_memory_is_tried_with_less() {
    let mut bench = Bench::usual();
    bench.acquire(&spec("a", 1));
    let first = bench.plan(1).shape.n_ctx_pool;
    let short = |failure: &mut LoadFailure| failure.short_of_memory = true;
    assert_eq!(bench.failed(1, short), ["spawn 2"]);
    assert!(bench.plan(2).shape.n_ctx_pool <= first / 4);
    assert_eq!(bench.failed(2, short), ["spawn 3"]);
    assert_eq!(bench.failed(3, short), ["refuse 101: no"]);
}

#[test]
fn a_grant_to_nobody_is_no_leak() {
    let mut bench = Bench::usual();
    bench.acquire_for(&spec("a", 1), Some(KeepAlive::For(Duration::ZERO)));
    assert_eq!(bench.loaded(1), ["grant 101 1"]);
    // The actor found nobody and dropped the lease; the cancellation comes on top.
    assert_eq!(bench.released(1), ["stop 1"]);
    assert_eq!(bench.canceled(101), NONE);
    assert_eq!(bench.n_active(1), 0);
    assert_eq!(bench.released(1), NONE);
}

#[test]
fn mapped_weights_do_not_count_as_free() {
    // The system reports 20 GiB available for ever, as it does while weights are mapped.
    let mut bench = Bench::usual();
    bench.load_idle(&spec("a", 10), 1);
    bench.load_idle(&spec("b", 6), 2);
    assert_eq!(bench.acquire(&spec("c", 8)), ["stop 1"]);
}

#[test]
fn an_embedder_fits_beside_a_chat_model_on_one_gpu() {
    let mut bench = Bench::new(gpu_machine(&[16_376]), |_| ());
    bench.load_idle(&spec("chat", 5), 1);
    let mut embedder = spec("embed", 0);
    embedder.dims.file_bytes = 300 * MIB;
    embedder.embedding = true;
    assert_eq!(bench.acquire(&embedder), ["spawn 2"]);
    assert!(bench.plan(2).gpu_bytes() > 0);
}

#[test]
fn models_elsewhere_are_not_in_the_way() {
    let mut bench = Bench::new(gpu_machine(&[4_096]), |_| ());
    let on_cpu = with(spec("cpu", 2), |options| options.num_gpu = 0);
    bench.acquire(&on_cpu);
    bench.loaded(1);
    // Too large for the GPU, and no model holds anything there: in part it is.
    assert_eq!(bench.acquire(&spec("large", 8)), ["spawn 2"]);
    assert!(bench.plan(2).n_gpu_layers > 0 && bench.plan(2).system_bytes > 0);
    bench.loaded(2);
    bench.released(2);
    bench.released(1);
    // The GPU's model goes for another one there, not the one that was idle for longer.
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.acquire(&spec("other", 2)), ["stop 2"]);
}

#[test]
fn two_models_that_fit_together_do_not_take_turns_for_ever() {
    let long = |name| {
        let mut spec = spec(name, 4);
        spec.dims.n_ctx_train = 131_072;
        spec
    };
    let (a, b) = (long("a"), long("b"));
    let mut bench = Bench::new(gpu_machine(&[16_376]), |_| ());
    bench.load_idle(&a, 1);
    assert!(
        bench.plan(1).gpu_bytes() > 13 * GIB,
        "alone it takes what is there"
    );
    assert_eq!(bench.acquire(&b), ["stop 1"]);
    assert_eq!(bench.exited(1), ["spawn 2"]);
    assert_eq!(bench.loaded(2), ["grant 102 2"]);
    // Room was kept for the one that had to go.
    assert_eq!(bench.acquire(&a), ["spawn 3"]);
    assert_eq!(bench.loaded(3), ["grant 103 3"]);
    assert!(bench.plan(3).shape.n_ctx_pool >= 8192);
}

#[test]
fn what_other_programs_hold_on_a_gpu_is_learned() {
    let mut bench = Bench::new(gpu_machine(&[16_376]), |_| ());
    bench.load_idle(&spec("a", 5), 1);
    // A game starts: the next look says that only 2 GiB beside our model are left.
    bench.machine.gpus[0].free_bytes = 2 * GIB;
    bench.event(Event::Devices { obstacle: None });
    assert_eq!(bench.acquire(&spec("b", 3)), ["stop 1"]);
    let state = &bench.state.entries()[0];
    assert_eq!(state.phase, Phase::Stopping);
}

/// What people use stays, and what they want comes first.
#[test]
fn a_batch_job_takes_no_model_from_people() {
    let mut bench = Bench::new(cpu_machine(), |limits| limits.max_loaded = 1);
    bench.load_idle(&spec("a", 1), 1);
    let job = ModelSpec {
        is_job: true,
        ..spec("b", 1)
    };
    assert_eq!(bench.acquire(&job), NONE);
    let recheck = bench.state.next_deadline().unwrap();
    assert_eq!(recheck, bench.now + Duration::from_secs(59));
    assert_eq!(bench.after(58), NONE);
    // Somebody comes back.
    assert_eq!(bench.acquire(&spec("a", 1)), ["grant 103 1"]);
    assert_eq!(bench.after(100), NONE);
    assert_eq!(bench.released(1), NONE);
    assert_eq!(bench.after(59), NONE);
    assert_eq!(bench.after(1), ["stop 1"]);
    assert_eq!(bench.exited(1), ["spawn 2"]);
    assert_eq!(bench.loaded(2), ["grant 102 2"]);
    // Another job's model goes at once, and a person's wish before the job's.
    assert_eq!(bench.released(2), NONE);
    let other = ModelSpec {
        is_job: true,
        ..spec("c", 1)
    };
    assert_eq!(bench.acquire(&other), ["stop 2"]);
    assert_eq!(bench.acquire(&spec("a", 1)), NONE);
    assert_eq!(bench.exited(2), ["spawn 4"]);
    assert_eq!(bench.loaded(4), ["grant 105 4"]);
    assert_eq!(bench.released(4), NONE);
    assert_eq!(bench.after(60), ["stop 4"]);
}
