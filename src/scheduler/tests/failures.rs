//! Loads that fail and runners that die.

use super::bench::{Bench, NONE};
use super::*;
use crate::scheduler::event::LoadFailure;

#[test]
fn a_runner_that_died_is_loaded_again_on_the_next_request() {
    let mut bench = Bench::usual();
    bench.acquire(&spec("a", 1));
    bench.loaded(1);
    assert_eq!(bench.exited(1), NONE);
    assert_eq!(bench.acquire(&spec("a", 1)), ["spawn 2"]);
    assert_eq!(bench.loaded(2), ["grant 102 2"]);
    // The lease of the dead runner is released late.
    assert_eq!(bench.released(1), NONE);
    assert_eq!(bench.n_active(2), 1);
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
