//! Estimates against published figures, pools and placements.

use super::*;
use crate::protocol::KvCacheType::{self, F16, Q8_0};
use crate::protocol::MAX_CELLS;
use crate::scheduler::costs::Costs;
use crate::scheduler::placement::{LoadPlan, Request, plan};
use crate::scheduler::pool::Pool;

/// An RTX 4080's 16,376 MiB without desktop and driver, as the published table counts.
const CARD_MIB: u64 = 16_376 - 450 - 400;

struct Published {
    spec: ModelSpec,
    weights_mib: u64,
    compute_mib: u64,
}

fn published(name: &str) -> Published {
    let (architecture, n_layer, head_dim, n_ctx_train, sliding_window, mib) = match name {
        "gemma" => ("gemma3", 48, 256, 131_072, 1024, (6963, 600)),
        "gpt-oss" => ("gpt-oss", 24, 64, 131_072, 128, (11_540, 420)),
        _ => ("llama", 32, 128, 32_768, 0, (4168, 300)),
    };
    let mut spec = spec(name, 0);
    spec.dims = ModelDims {
        window_period: crate::families::window_period(architecture),
        file_bytes: mib.0 * MIB,
        n_head_kv: vec![8; n_layer],
        head_dim_k: head_dim,
        head_dim_v: head_dim,
        n_embd: 3840,
        n_vocab: if name == "gemma" { 262_144 } else { 200_000 },
        n_ctx_train,
        sliding_window,
        expert_bytes: 0,
    };
    Published {
        spec,
        weights_mib: mib.0,
        compute_mib: mib.1,
    }
}

#[test]
fn cache_sizes_are_the_published_ones() {
    let check = |name: &str, kind: KvCacheType, per_1k_kib: u64, windows: [f64; 5]| {
        let dims = published(name).spec.dims;
        assert_eq!(dims.global_bytes_per_token(kind), per_1k_kib, "{name}");
        for (n_seq, mib) in [1, 2, 4, 8, 16].into_iter().zip(windows) {
            let got = dims.window_costs(kind, 512).bytes(0, n_seq) as f64 / MIB as f64;
            // A window that is no multiple of 256 cells is rounded up.
            let step = if name == "gpt-oss" { 6.0 } else { 0.0 };
            assert!(
                (got - mib).abs() < 1.0 + step,
                "{name} × {n_seq}: {got} instead of {mib}"
            );
        }
    };
    // MiB per 1,024 tokens = KiB per token.
    check(
        "gemma",
        F16,
        64 << 10,
        [480.0, 800.0, 1440.0, 2720.0, 5280.0],
    );
    check(
        "gemma",
        Q8_0,
        34 << 10,
        [255.0, 425.0, 765.0, 1445.0, 2805.0],
    );
    check("gpt-oss", F16, 24 << 10, [18.0, 18.0, 24.0, 36.0, 60.0]);
    check("gpt-oss", Q8_0, 13_056, [9.6, 9.6, 12.75, 19.1, 31.9]);
    check("mistral", F16, 128 << 10, [0.0; 5]);
    check("mistral", Q8_0, 68 << 10, [0.0; 5]);
}

/// Thousands of tokens in the pool.
#[test]
fn pools_on_a_16_gb_card_are_the_published_ones() {
    let check = |name: &str, kind: KvCacheType, rows: &[(u32, u32)]| {
        let model = published(name);
        let policy = placement::Policy {
            kv_cache_type: kind,
            ..policy()
        };
        let room = (CARD_MIB - model.weights_mib - model.compute_mib) * MIB;
        let costs = Costs::estimated(&model.spec, &policy, 512);
        let dims = &model.spec.dims;
        let budget = room + dims.file_bytes + dims.compute_bytes(512);
        for &(n_slots, thousands) in rows {
            let got = Pool::new(&model.spec, &policy, costs.whole()).cells(budget, n_slots);
            let got = f64::from(got) / 1000.0;
            let off = (got - f64::from(thousands)).abs() / f64::from(thousands);
            assert!(
                off < 0.015,
                "{name} × {n_slots}: {got} instead of {thousands}"
            );
        }
    };
    check(
        "gemma",
        F16,
        &[(1, 120), (2, 115), (4, 104), (8, 84), (16, 43)],
    );
    check(
        "gemma",
        Q8_0,
        &[(1, 131), (2, 227), (4, 217), (8, 196), (16, 155)],
    );
    check(
        "gpt-oss",
        F16,
        &[(1, 131), (2, 151), (4, 151), (8, 151), (16, 150)],
    );
    check("gpt-oss", Q8_0, &[(1, 131), (4, 285), (8, 285), (16, 284)]);
    check(
        "mistral",
        F16,
        &[(1, 33), (2, 66), (4, 88), (8, 88), (16, 88)],
    );
    check("mistral", Q8_0, &[(1, 33), (2, 66), (8, 167), (16, 167)]);
}

/// Plans a load; unspecified values are the usual ones.
fn planned(
    spec: &ModelSpec,
    machine: &Snapshot,
    change: impl FnOnce(&mut Request<'_>),
) -> Option<LoadPlan> {
    let policy = policy();
    let mut request = Request {
        spec,
        policy: &policy,
        measurement: None,
        reserved_bytes: 0,
        must: true,
    };
    change(&mut request);
    plan(&request, machine)
}

fn placed(spec: &ModelSpec, machine: &Snapshot) -> LoadPlan {
    planned(spec, machine, |_| ()).unwrap()
}

/// The GPUs that a model is on.
fn cards(plan: &LoadPlan) -> Vec<usize> {
    plan.cards.iter().map(|card| card.index).collect()
}

/// SmolLM2 135M in 8 bits.
fn tiny() -> ModelSpec {
    let mut spec = spec("smollm2", 0);
    spec.dims.file_bytes = 145 * MIB;
    spec.dims.n_head_kv = vec![3; 30];
    spec.dims.n_embd = 576;
    spec.dims.n_vocab = 49_152;
    spec
}

#[test]
fn a_small_model_takes_a_small_pool_on_the_cpu() {
    let plan = placed(&tiny(), &cpu_machine());
    assert!((8192..=16_384).contains(&plan.shape.n_ctx_pool), "{plan:?}");
    assert!(plan.system_bytes < 768 * MIB, "{plan:?}");
    assert!(plan.shape.n_slots > 1, "several clients at once");
    assert_eq!((plan.n_gpu_layers, plan.shape.n_batch), (0, 512));
    assert!(
        plan.n_ctx_most >= 8 * 8192,
        "a wish for more can be fulfilled"
    );
}

#[test]
fn a_model_that_sees_gets_calls_that_hold_an_image_and_room_to_encode_it() {
    let blind = tiny();
    let mut seeing = tiny();
    seeing.projector = Some(ProjectorParams::original("projector"));
    seeing.options.num_batch = Some(64);
    let (blind, plan) = (
        placed(&blind, &cpu_machine()),
        placed(&seeing, &cpu_machine()),
    );
    assert!(plan.shape.n_batch >= 1120, "{plan:?}");
    assert!(
        plan.system_bytes >= blind.system_bytes + 512 * MIB,
        "{plan:?}"
    );
}

#[test]
fn a_large_model_takes_an_eighth_of_the_free_memory_on_the_cpu() {
    let mut mistral = published("mistral").spec;
    mistral.dims.n_ctx_train = 131_072;
    let plan = placed(&mistral, &cpu_machine());
    let pool = u64::from(plan.shape.n_ctx_pool) * mistral.dims.global_bytes_per_token(F16);
    assert!((2 * GIB..=20 * GIB / 8).contains(&pool), "{plan:?}");
}

#[test]
fn a_context_that_is_asked_for_is_there_if_it_fits() {
    let asking = |num_ctx| with(published("mistral").spec, |o| o.num_ctx = Some(num_ctx));
    assert!(placed(&asking(32_768), &cpu_machine()).shape.n_ctx_pool >= 32_768);
    let modest = placed(&published("mistral").spec, &cpu_machine())
        .shape
        .n_ctx_pool;
    assert_eq!(
        placed(&asking(512), &cpu_machine()).shape.n_ctx_pool,
        modest
    );
    // More than the trained length is useless, more than the memory impossible.
    let small = Snapshot {
        system_available_bytes: 8 * GIB,
        ..cpu_machine()
    };
    let plan = placed(&asking(1 << 20), &small);
    assert!(
        plan.shape.n_ctx_pool < 32_768 && plan.system_bytes < 8 * GIB,
        "{plan:?}"
    );
}

#[test]
fn the_default_context_is_kept_for_every_slot_that_was_asked_for() {
    let spec = tiny();
    let set = placement::Policy {
        num_parallel: 4,
        context_length: 8192,
        ..policy()
    };
    let request = Request {
        spec: &spec,
        policy: &set,
        measurement: None,
        reserved_bytes: 0,
        must: true,
    };
    let plan = plan(&request, &cpu_machine()).unwrap();
    assert_eq!((plan.shape.n_slots, plan.shape.n_ctx_pool), (4, 4 * 8192));
}

#[test]
fn a_gpu_gets_the_whole_model_and_keeps_room_for_a_guest() {
    let machine = gpu_machine(&[16_376]);
    let mistral = published("mistral").spec;
    let plan = placed(&mistral, &machine);
    assert_eq!((plan.n_gpu_layers, cards(&plan)), (-1, vec![0]));
    // The published default is about 80k.
    assert!(
        (65_000..88_000).contains(&plan.shape.n_ctx_pool),
        "{plan:?}"
    );
    assert_eq!(plan.shape.n_batch, 2048);
    let left = 15_926 * MIB - plan.gpu_bytes();
    assert!(left > 1400 * MIB, "{left}");
    let gemma = placed(&published("gemma").spec, &machine);
    assert!(
        gemma.shape.n_slots >= 8 && gemma.shape.n_ctx_pool > 50_000,
        "{gemma:?}"
    );
}

#[test]
fn a_model_that_does_not_fit_beside_others_asks_for_room_first() {
    let machine = gpu_machine(&[6_000]);
    let gemma = published("gemma").spec;
    assert_eq!(planned(&gemma, &machine, |r| r.must = false), None);
    let plan = placed(&gemma, &machine);
    assert!((1..48).contains(&plan.n_gpu_layers), "in part: {plan:?}");
    assert!(
        plan.gpu_bytes() <= 5_550 * MIB && plan.system_bytes > 0,
        "{plan:?}"
    );
}

#[test]
fn the_request_may_choose_the_place() {
    let machine = gpu_machine(&[16_376, 24_000]);
    let place = |change: fn(&mut Options)| {
        let plan = placed(&with(published("mistral").spec, change), &machine);
        (cards(&plan), plan.n_gpu_layers)
    };
    assert_eq!(place(|_| ()), (vec![1], -1), "most free memory");
    assert_eq!(place(|o| o.main_gpu = Some(0)), (vec![0], -1));
    assert_eq!(place(|o| o.num_gpu = 0), (vec![], 0));
    assert_eq!(place(|o| o.num_gpu = 10), (vec![1], 10));
    assert_eq!(place(|o| o.num_gpu = 99), (vec![1], -1));
}

#[test]
fn an_integrated_gpu_has_no_memory_of_its_own() {
    let mut machine = gpu_machine(&[32_000]);
    machine.gpus[0].is_integrated = true;
    machine.system_available_bytes = 3 * GIB;
    let plan = placed(&published("mistral").spec, &machine);
    assert!(
        plan.gpu_bytes() <= 3 * GIB && plan.n_gpu_layers < 32,
        "{plan:?}"
    );
}

#[test]
fn rows_of_a_batch_have_bounds_and_more_of_them_take_more_memory() {
    let batch = |asked| {
        let spec = with(tiny(), |options| options.num_batch = Some(asked));
        placed(&spec, &cpu_machine())
    };
    let usual = placed(&tiny(), &cpu_machine());
    assert_eq!(batch(0).shape.n_batch, 32);
    let most = batch(u32::MAX);
    assert!((2048..=8192).contains(&most.shape.n_batch), "{most:?}");
    assert!(most.system_bytes > usual.system_bytes, "{most:?}");
}

#[test]
fn dimensions_from_a_hostile_file_do_not_overflow() {
    let mut spec = spec("bad", 0);
    spec.dims = ModelDims {
        file_bytes: u64::MAX,
        n_head_kv: vec![u32::MAX; 512],
        head_dim_k: u32::MAX,
        head_dim_v: u32::MAX,
        n_embd: u32::MAX,
        n_vocab: u32::MAX,
        n_ctx_train: u32::MAX,
        sliding_window: u32::MAX,
        expert_bytes: u64::MAX,
        window_period: crate::families::window_period("gemma3"),
    };
    for machine in [cpu_machine(), gpu_machine(&[16_376])] {
        assert_eq!(planned(&spec, &machine, |r| r.must = false), None);
        let plan = placed(&spec, &machine);
        assert!((1..=MAX_CELLS).contains(&plan.shape.n_ctx_pool), "{plan:?}");
    }
    // Even with tiny cells, their number is limited.
    spec.dims.n_head_kv = vec![0; 512];
    for machine in [cpu_machine(), gpu_machine(&[16_376])] {
        let asking = with(spec.clone(), |options| options.num_ctx = Some(u32::MAX));
        assert!(placed(&asking, &machine).shape.n_ctx_pool <= MAX_CELLS);
    }
}

/// The model with SmolLM2 as its draft model.
fn drafted(mut spec: ModelSpec) -> ModelSpec {
    spec.draft = Some(DraftSpec {
        weights: ModelFile::original("draft"),
        dims: tiny().dims,
    });
    spec
}

#[test]
fn a_draft_model_counts_with_its_file_its_cache_and_its_buffers() {
    let plain = published("mistral").spec;
    let with_draft = drafted(plain.clone());
    for machine in [cpu_machine(), gpu_machine(&[16_384])] {
        let asking = |spec: &ModelSpec| with(spec.clone(), |o| o.num_ctx = Some(16_384));
        let without = placed(&asking(&plain), &machine);
        let plan = placed(&asking(&with_draft), &machine);
        let bytes = |plan: &LoadPlan| plan.system_bytes + plan.gpu_bytes();
        let per_token = |spec: &ModelSpec| spec.dims.global_bytes_per_token(F16);
        let rows = plan.shape.n_ubatch;
        let cache = u64::from(plan.shape.n_ctx_pool) * per_token(&tiny());
        let fewer = u64::from(
            without
                .shape
                .n_ctx_pool
                .saturating_sub(plan.shape.n_ctx_pool),
        );
        let expected = tiny().dims.file_bytes + tiny().dims.compute_bytes(rows) + cache;
        let taken = bytes(&plan) + fewer * per_token(&plain) - bytes(&without);
        assert_eq!(taken, expected, "{plan:?} {without:?}");
    }
    // Whole layers of the model make room for it.
    let small = gpu_machine(&[4096]);
    let layers = |spec: &ModelSpec| placed(spec, &small).n_gpu_layers;
    assert!(layers(&with_draft) < layers(&plain));
}

#[test]
fn a_draft_model_that_is_not_used_takes_no_memory() {
    let plain = placed(&tiny(), &cpu_machine());
    let off = with(drafted(tiny()), |o| o.draft_num_predict = Some(0));
    assert_eq!(placed(&off, &cpu_machine()), plain);
    let policy = placement::Policy {
        speculation: Speculation::Off,
        spill: SpillParams::default(),
        ..policy()
    };
    let request = Request {
        spec: &drafted(tiny()),
        policy: &policy,
        measurement: None,
        reserved_bytes: 0,
        must: true,
    };
    assert_eq!(plan(&request, &cpu_machine()), Some(plain));
}
