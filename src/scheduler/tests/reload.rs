//! Which requests a loaded runner serves, and which need another load.

use super::bench::{Bench, NONE};
use super::*;
use crate::scheduler::event::Event;

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
    // More than the trained length is no reason to reload either.
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
    // From now on both are served, and a request for more than the memory holds causes no reload.
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
    // Options that are not set never cause a reload, nor do sampling options.
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
