//! Several GPUs, mixtures of experts, `n_ubatch`, and measured models.

use super::bench::{Bench, NONE};
use super::*;
use crate::protocol::{HOST, Measured, MemoryUse};
use crate::scheduler::costs::Measurement;
use crate::scheduler::event::{Effect, Event, Found};
use crate::scheduler::placement::{LoadPlan, Policy, Request, least_bytes, n_ubatches, plan};

fn request<'a>(spec: &'a ModelSpec, policy: &'a Policy) -> Request<'a> {
    Request {
        spec,
        policy,
        measurement: None,
        reserved_bytes: 0,
        must: true,
    }
}

fn placed(spec: &ModelSpec, machine: &Snapshot) -> LoadPlan {
    plan(&request(spec, &policy()), machine).unwrap()
}

fn indexes(plan: &LoadPlan) -> Vec<usize> {
    plan.cards.iter().map(|card| card.index).collect()
}

#[test]
fn a_model_takes_the_fewest_cards_that_hold_it() {
    let machine = gpu_machine(&[8_192, 12_288, 8_192]);
    assert_eq!(indexes(&placed(&spec("small", 3), &machine)), [1]);
    let two = placed(&spec("medium", 14), &machine);
    assert_eq!((indexes(&two), two.n_gpu_layers), (vec![1, 0], -1));
    let three = placed(&spec("large", 22), &machine);
    assert_eq!((indexes(&three), three.n_gpu_layers), (vec![1, 0, 2], -1));
    let partly = placed(&spec("huge", 40), &machine);
    assert!((1..16).contains(&partly.n_gpu_layers), "{partly:?}");
    assert_eq!(partly.cards.len(), 3);
    for plan in [two, three, partly] {
        for card in &plan.cards {
            let gpu = &machine.gpus[card.index];
            assert!(card.bytes <= gpu.free_bytes, "{card:?} on {gpu:?}");
        }
        // The larger card has more of the layers.
        assert!(plan.cards[0].share > plan.cards[1].share, "{plan:?}");
    }
}

#[test]
fn spreading_takes_all_cards_of_a_kind() {
    let mut machine = gpu_machine(&[8_192, 12_288, 8_192]);
    machine.gpus[2].backend = "Vulkan".to_owned();
    let spread = Policy {
        spread: true,
        ..policy()
    };
    let small = spec("small", 3);
    let plan = plan(&request(&small, &spread), &machine).unwrap();
    assert_eq!(indexes(&plan), [1, 0]);
}

#[test]
fn cards_of_two_kinds_do_not_share_a_model() {
    let mut machine = gpu_machine(&[8_192, 8_192]);
    machine.gpus[1].backend = "Vulkan".to_owned();
    let plan = placed(&spec("medium", 11), &machine);
    assert_eq!(plan.cards.len(), 1);
    assert!((1..16).contains(&plan.n_gpu_layers), "{plan:?}");
}

#[test]
fn devices_of_other_machines_come_last() {
    let mut machine = gpu_machine(&[8_192, 24_576]);
    machine.gpus[1].backend = "RPC".to_owned();
    assert_eq!(indexes(&placed(&spec("small", 3), &machine)), [0]);
    let medium = placed(&spec("medium", 11), &machine);
    assert_eq!((indexes(&medium), medium.n_gpu_layers), (vec![0, 1], -1));
    // The machine has no local card.
    machine.gpus.remove(0);
    assert_eq!(indexes(&placed(&spec("small", 3), &machine)), [1]);
}

#[test]
fn two_models_do_not_share_the_devices_of_other_machines() {
    let mut machine = gpu_machine(&[8_192, 24_576]);
    for gpu in &mut machine.gpus {
        gpu.backend = "RPC".to_owned();
    }
    let mut bench = Bench::new(machine, |_| ());
    bench.load_idle(&spec("first", 2), 1);
    assert_eq!(bench.acquire(&spec("second", 2)), ["stop 1"]);
    assert_eq!(bench.exited(1), ["spawn 2"]);
    assert_eq!(bench.plan(2).n_gpu_layers, -1);
}

#[test]
fn experts_go_to_the_cpu_before_whole_layers_do() {
    let machine = gpu_machine(&[8_192]);
    let mut mixture = spec("mixture", 11);
    mixture.dims.expert_bytes = 9 * GIB;
    let plan = placed(&mixture, &machine);
    assert_eq!(plan.n_gpu_layers, -1);
    assert!((5..10).contains(&plan.n_cpu_moe), "{plan:?}");
    assert!(plan.gpu_bytes() <= machine.gpus[0].free_bytes);
    let moved = 9 * GIB / 16 * u64::from(plan.n_cpu_moe);
    assert_eq!(plan.system_bytes, moved);
    // If even that does not suffice, layers go to the CPU.
    mixture.dims.expert_bytes = GIB;
    let plan = placed(&mixture, &machine);
    assert!(plan.n_cpu_moe == 0 && plan.n_gpu_layers > 0, "{plan:?}");
}

#[test]
fn more_rows_at_once_are_taken_where_they_cost_little() {
    let mut windowed = spec("windowed", 6);
    windowed.dims.sliding_window = 1024;
    windowed.dims.window_period = 6;
    windowed.dims.n_head_kv = vec![8; 48];
    windowed.dims.head_dim_k = 256;
    windowed.dims.head_dim_v = 256;
    windowed.dims.n_ctx_train = 131_072;
    let rows = |mib: u64| placed(&windowed, &gpu_machine(&[mib])).shape.n_ubatch;
    assert_eq!(rows(24_000), 2048);
    assert_eq!(rows(10_500), 512);
}

/// A measurement with these GiB of a model on the card and on the host.
fn measurement(spec: &ModelSpec, on_card: u64, on_host: u64) -> Measurement {
    let measured = measured(spec, on_card, on_host);
    Measurement::new(&n_ubatches(spec, true), &measured, true)
}

fn measured(spec: &ModelSpec, on_card: u64, on_host: u64) -> Measured {
    let rows = n_ubatches(spec, true);
    let uses = Measurement::shapes(&rows).into_iter().map(|shape| {
        let mut found = MemoryUse::default();
        found.on("CUDA0").weights = on_card * GIB;
        found.on("CUDA0").kv = u64::from(shape.n_ctx_pool) * 1024;
        found.on(HOST).weights = on_host * GIB;
        Some(found)
    });
    Measured(uses.collect())
}

#[test]
fn what_was_measured_counts_and_not_the_estimate() {
    let machine = gpu_machine(&[8_192]);
    let model = spec("m", 10);
    let policy = policy();
    let known = measurement(&model, 4, 6);
    let request = Request {
        measurement: Some(&known),
        ..request(&model, &policy)
    };
    let plan = plan(&request, &machine).unwrap();
    assert_eq!((plan.n_gpu_layers, plan.system_bytes), (-1, 6 * GIB));
    let pool = u64::from(plan.shape.n_ctx_pool) * 1024;
    assert_eq!(plan.gpu_bytes(), 4 * GIB + pool);
    assert!(least_bytes(&model, &policy) > 10 * GIB);
}

#[test]
fn a_lost_card_is_left_as_soon_as_its_models_are_idle() {
    let mut bench = Bench::new(gpu_machine(&[16_376]), |_| ());
    bench.load_idle(&spec("idle", 2), 1);
    assert_eq!(bench.acquire(&spec("busy", 2)), ["spawn 2"]);
    bench.loaded(2);
    bench.machine.gpus.clear();
    assert_eq!(bench.event(devices(None)), ["stop 1"]);
    // A new request for the busy model gets a new load, on the devices that there are.
    bench.exited(1);
    assert_eq!(bench.acquire(&spec("busy", 2)), NONE);
    assert_eq!(bench.released(2), ["stop 2"]);
    assert_eq!(bench.exited(2), ["spawn 3"]);
    assert_eq!(bench.plan(3).n_gpu_layers, 0);
}

#[test]
fn where_a_gpu_is_required_the_cpu_is_refused_with_the_reason() {
    let mut bench = Bench::new(cpu_machine(), |limits| limits.policy.requires_gpu = true);
    bench.event(devices(Some("the driver is too old (try: a newer one)")));
    let refused = "refuse 101: no GPU can be used, and DROVER_REQUIRE_GPU is set: the driver is too old (try: a newer one)";
    assert_eq!(bench.acquire(&spec("a", 1)), [refused]);
    // A request that asks for the CPU is served.
    let on_cpu = with(spec("a", 1), |options| options.num_gpu = 0);
    assert_eq!(bench.acquire(&on_cpu), ["spawn 2"]);
    // The card is back.
    bench.loaded(2);
    bench.machine.gpus = gpu_machine(&[16_376]).gpus;
    assert_eq!(bench.event(devices(None)), NONE);
    assert_eq!(bench.acquire(&spec("b", 1)), ["spawn 3"]);
}

#[test]
fn a_model_is_measured_once_and_then_placed() {
    let mut bench = Bench::new(gpu_machine(&[16_376]), |limits| {
        limits.policy.measures = true;
    });
    assert_eq!(bench.acquire(&spec("a", 2)), ["measure"]);
    assert_eq!(bench.acquire(&spec("a", 2)), NONE, "others wait with it");
    let Effect::Measure { key, .. } = measure_effect(&mut bench, "b") else {
        panic!("b is measured, too")
    };
    // No answer: the estimate stands.
    assert_eq!(
        bench.event(Event::Measured {
            key,
            measured: None
        }),
        ["spawn 2"]
    );
    bench.loaded(2);
    assert_eq!(bench.acquire(&spec("b", 2)), ["grant 104 2"], "not again");
}

#[test]
fn what_a_load_has_corrected_stays_however_often_it_is_measured() {
    let mut bench = Bench::new(gpu_machine(&[16_376]), |limits| {
        limits.policy.measures = true;
    });
    let Effect::Measure { key, .. } = measure_effect(&mut bench, "a") else {
        panic!("a is measured")
    };
    let told = || Event::Measured {
        key: key.clone(),
        measured: Some(measured(&spec("a", 2), 2, 0)),
    };
    assert_eq!(bench.event(told()), ["spawn 1"]);
    let fixed = |plan: &LoadPlan| plan.gpu_bytes() - u64::from(plan.shape.n_ctx_pool) * 1024;
    let plan = bench.plan(1);
    assert_eq!(fixed(&plan), 2 * GIB);
    let mut info = LoadedInfo {
        n_ctx_pool: plan.shape.n_ctx_pool,
        ..LoadedInfo::default()
    };
    info.memory.on("CUDA0").weights = plan.gpu_bytes() + GIB;
    let info = Box::new(info);
    bench.event(Event::Loaded { entry: 1, info });
    bench.exited(1);
    // `fit` measures again.
    bench.event(told());
    assert_eq!(bench.acquire(&spec("a", 2)), ["spawn 2"]);
    assert_eq!(fixed(&bench.plan(2)), 3 * GIB);
}

/// Requests another model; returns the effect that measures it.
fn measure_effect(bench: &mut Bench, name: &str) -> Effect {
    assert_eq!(bench.acquire(&spec(name, 2)), ["measure"]);
    bench.effects.pop().unwrap()
}

#[test]
fn a_machine_with_room_enough_does_not_measure_small_models() {
    let mut bench = Bench::new(cpu_machine(), |limits| limits.policy.measures = true);
    assert_eq!(bench.acquire(&spec("small", 1)), ["spawn 1"]);
    bench.loaded(1);
    assert_eq!(bench.acquire(&spec("large", 9)), ["measure"]);
}

#[test]
fn a_model_that_crashes_at_work_again_and_again_is_refused_for_a_minute() {
    let mut bench = Bench::usual();
    for entry in 1..=3 {
        assert_eq!(bench.acquire(&spec("a", 1)), [format!("spawn {entry}")]);
        bench.loaded(entry);
        bench.exited(entry);
        bench.released(entry);
    }
    let refused = bench.acquire(&spec("a", 1));
    assert!(refused[0].contains("crashed several times"), "{refused:?}");
    bench.after(61);
    assert_eq!(bench.acquire(&spec("a", 1)), ["spawn 4"]);
}

fn devices(obstacle: Option<&str>) -> Event {
    Event::Devices {
        obstacle: obstacle.map(str::to_owned),
    }
}

#[test]
fn gpus_are_looked_for_again_where_some_may_be_missing() {
    let found = |gpus: &[u64], has_obstacle: bool, has_failed| {
        let obstacle = has_obstacle.then(|| crate::device::Obstacle {
            reason: "its driver is not loaded".to_owned(),
            fix: "modprobe nvidia",
        });
        Found {
            gpus: gpu_machine(gpus).gpus,
            obstacle,
            has_failed,
            lacks_servers: false,
        }
    };
    assert!(found(&[], true, false).may_change());
    assert!(found(&[], false, true).may_change());
    assert!(!found(&[], false, false).may_change(), "there is no card");
    assert!(!found(&[8_192], false, false).may_change());
    let lent = Found {
        lacks_servers: true,
        ..found(&[8_192], false, false)
    };
    assert!(lent.may_change(), "another machine's may come back");
}
