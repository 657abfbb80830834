//! Which model is unloaded for another one, and when.

use super::bench::{Bench, NONE};
use super::*;
use crate::scheduler::event::Event;
use crate::scheduler::state::Phase;

/// After this time a model in use makes room.
const TURN: Duration = Duration::from_secs(10);

#[test]
fn a_busy_victim_takes_no_new_requests() {
    let mut bench = Bench::usual();
    let (old, new) = (spec("old", 12), spec("new", 12));
    bench.acquire(&old);
    bench.loaded(1);
    bench.now += TURN;
    assert_eq!(bench.acquire(&old), ["grant 102 1"]);
    assert_eq!(bench.acquire(&new), NONE);
    for _ in 0..5 {
        assert_eq!(bench.acquire(&old), NONE, "waits");
    }
    assert_eq!(bench.released(1), NONE);
    assert_eq!(bench.released(1), ["stop 1"]);
    assert_eq!(bench.exited(1), ["spawn 2"]);
    assert_eq!(bench.loaded(2), ["grant 103 2"]);
    // The requests of the old model come next, all with one load.
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
    bench.now += TURN;
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
    bench.now += TURN;
    bench.acquire(&new);
    assert_eq!(bench.acquire(&old), NONE);
    assert_eq!(bench.canceled(102), ["grant 103 1"]);
    assert_eq!(bench.acquire(&old), ["grant 104 1"]);
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

    // Three models without a GPU; the fourth replaces the oldest.
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
fn mapped_weights_do_not_count_as_free() {
    // The system keeps reporting 20 GiB available, as it does while weights are mapped.
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
    // Too large for the GPU, and no model there can make room: part of it is on the GPU.
    assert_eq!(bench.acquire(&spec("large", 8)), ["spawn 2"]);
    assert!(bench.plan(2).n_gpu_layers > 0 && bench.plan(2).system_bytes > 0);
    bench.loaded(2);
    bench.released(2);
    bench.released(1);
    // The model on the GPU makes room there, not the one that was idle for longer.
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
    // Room was kept for the evicted model.
    assert_eq!(bench.acquire(&a), ["spawn 3"]);
    assert_eq!(bench.loaded(3), ["grant 103 3"]);
    assert!(bench.plan(3).shape.n_ctx_pool >= 8192);
}

#[test]
fn what_other_programs_hold_on_a_gpu_is_learned() {
    let mut bench = Bench::new(gpu_machine(&[16_376]), |_| ());
    bench.load_idle(&spec("a", 5), 1);
    // A game starts: the next probe reports only 2 GiB free beside our model.
    bench.machine.gpus[0].free_bytes = 2 * GIB;
    bench.event(Event::Devices { obstacle: None });
    assert_eq!(bench.acquire(&spec("b", 3)), ["stop 1"]);
    let state = &bench.state.entries()[0];
    assert_eq!(state.phase, Phase::Stopping);
}

/// Models that people use stay, and models that they request come first.
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
    // An interactive request uses it again.
    assert_eq!(bench.acquire(&spec("a", 1)), ["grant 103 1"]);
    assert_eq!(bench.after(100), NONE);
    assert_eq!(bench.released(1), NONE);
    assert_eq!(bench.after(59), NONE);
    assert_eq!(bench.after(1), ["stop 1"]);
    assert_eq!(bench.exited(1), ["spawn 2"]);
    assert_eq!(bench.loaded(2), ["grant 102 2"]);
    // Another job's model goes at once, and an interactive request comes before the job's.
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

#[test]
fn a_model_that_is_used_has_its_turn_before_it_makes_room() {
    let mut bench = Bench::usual();
    let (old, new) = (spec("old", 12), spec("new", 12));
    bench.acquire(&old);
    bench.loaded(1);
    assert_eq!(bench.acquire(&new), NONE);
    assert_eq!(bench.after(9), NONE);
    assert_eq!(bench.acquire(&old), ["grant 103 1"], "its turn goes on");
    assert_eq!(bench.after(1), NONE);
    assert_eq!(bench.acquire(&old), NONE, "waits for the newcomer");
    assert_eq!(bench.released(1), NONE);
    assert_eq!(bench.released(1), ["stop 1"]);

    // After many requests the turn lasts as long as the load took, here no time.
    let mut bench = Bench::usual();
    for _ in 0..8 {
        bench.acquire(&old);
    }
    bench.loaded(1);
    bench.acquire(&new);
    assert_eq!(bench.acquire(&old), NONE);
}

#[test]
fn what_a_job_uses_makes_room_for_people_at_once() {
    let mut bench = Bench::usual();
    let job = ModelSpec {
        is_job: true,
        ..spec("old", 12)
    };
    bench.acquire(&job);
    bench.loaded(1);
    assert_eq!(bench.acquire(&spec("new", 12)), NONE);
    assert_eq!(bench.acquire(&job), NONE, "waits");
    assert_eq!(bench.released(1), ["stop 1"]);
}

#[test]
fn a_model_that_waits_for_long_gets_the_room_that_small_ones_would_take() {
    let mut bench = Bench::usual();
    bench.acquire(&spec("busy", 12));
    bench.loaded(1);
    assert_eq!(bench.acquire(&spec("large", 14)), NONE);
    bench.after(29);
    assert_eq!(bench.acquire(&spec("small", 1)), ["spawn 3"]);
    bench.loaded(3);
    bench.after(1);
    // A small model fits beside the large one that waits, a medium one does not.
    assert_eq!(bench.acquire(&spec("middle", 4)), NONE);
    assert_eq!(bench.acquire(&spec("little", 1)), ["spawn 5"]);
    bench.loaded(5);
    assert_eq!(bench.released(1), ["stop 1"]);
}
