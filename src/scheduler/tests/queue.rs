//! Which requests wait for a load, for how long, and which are refused.

use super::bench::{Bench, NONE};
use super::*;
use crate::scheduler::event::{Effect, Event};

#[test]
fn a_load_goes_on_for_those_who_still_wait() {
    let mut bench = Bench::usual();
    assert_eq!(bench.acquire(&spec("a", 1)), ["spawn 1"]);
    assert_eq!(bench.acquire(&spec("a", 1)), NONE, "joins the load");
    assert_eq!(bench.canceled(101), NONE);
    assert_eq!(bench.loaded(1), ["grant 102 1"]);

    assert_eq!(bench.acquire(&spec("b", 1)), ["spawn 2"]);
    assert_eq!(bench.canceled(103), ["abort 2"]);
    // The load finished at that very moment.
    let info = Box::new(LoadedInfo::default());
    assert_eq!(bench.event(Event::Loaded { entry: 2, info }), ["stop 2"]);
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
    // Requests for a loaded model wait in its runner: as many as the queue allows, beyond its slots (here
    // none).
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
    // The load has taken this long so far.
    assert_eq!(wait(&mut bench), 7);
    bench.loaded(1);
    // Each place that becomes free counts for a request that was refused before.
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
    // These wait for the load.
    assert_eq!(count(&mut bench, "many", 20), 16);
    assert_eq!(count(&mut bench, "one", 5), 2);
    // These wait for a slot.
    bench.loaded(1);
    assert_eq!(count(&mut bench, "many", 5), 0);
    assert_eq!(count(&mut bench, "one", 5), 0);
    assert_eq!(count(&mut bench, "two", 5), 2);
    // All clients together may queue twice as many.
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
fn a_grant_to_nobody_is_no_leak() {
    let mut bench = Bench::usual();
    bench.acquire_for(&spec("a", 1), Some(KeepAlive::For(Duration::ZERO)));
    assert_eq!(bench.loaded(1), ["grant 101 1"]);
    // The actor found the request gone and dropped the lease; then comes the cancellation.
    assert_eq!(bench.released(1), ["stop 1"]);
    assert_eq!(bench.canceled(101), NONE);
    assert_eq!(bench.n_active(1), 0);
    assert_eq!(bench.released(1), NONE);
}
