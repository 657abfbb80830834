//! How long idle models stay loaded.

use super::bench::{Bench, NONE};
use super::*;
use crate::scheduler::event::Event;

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
    // A request without `keep_alive` changes nothing, one with it does.
    bench.acquire(&a);
    bench.released(3);
    assert_eq!(bench.after(100_000), NONE);
    bench.acquire_for(&a, seconds(10));
    bench.released(3);
    assert_eq!(bench.after(9), NONE);
    // A new lease stops the timer; it restarts when the lease ends.
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
    // The next load does not inherit that.
    assert_eq!(bench.acquire(&spec("a", 1)), NONE);
    assert_eq!(bench.exited(2), ["spawn 3"]);
    bench.loaded(3);
    assert_eq!(bench.released(3), NONE);
}
