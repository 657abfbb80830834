//! The memory that models take: measured and real.

use std::path::Path;

use super::{GEMMA3, SMOLLM2, load, model, one_at_a_time, params};
use crate::engine::backend::Backend as _;
use crate::engine::backend::llama::measure;
use crate::protocol::{HOST, LoadParams, MemoryUse, PoolShape, ProjectorParams};

/// The shapes that each model is measured for at once, and loaded with.
fn shapes() -> [PoolShape; 3] {
    [(512, 1, 32, 32), (4096, 8, 512, 64), (8192, 2, 512, 512)].map(
        |(n_ctx_pool, n_slots, n_batch, n_ubatch)| PoolShape {
            n_ctx_pool,
            n_slots,
            n_batch,
            n_ubatch,
        },
    )
}

/// Measures and loads; compares to 1 % and 1 MiB.
fn compare(params: &LoadParams) {
    let measured = measure(params, &shapes()).unwrap();
    for (shape, measured) in shapes().into_iter().zip(measured.0) {
        let measured = measured.unwrap();
        let real = load(&params.in_shape(shape)).info().memory.clone();
        close(&measured, &real, &params.model.path, shape);
    }
}

fn close(measured: &MemoryUse, real: &MemoryUse, path: &Path, shape: PoolShape) {
    let (measured, real) = (measured.get(HOST).unwrap(), real.get(HOST).unwrap());
    for (what, measured, real) in [
        ("weights", measured.weights, real.weights),
        ("kv", measured.kv, real.kv),
        ("compute", measured.compute, real.compute),
    ] {
        let allowed = real / 100 + (1 << 20);
        assert!(
            measured.abs_diff(real) <= allowed,
            "{what} of {} in {shape:?}: {measured} instead of {real}",
            path.display()
        );
    }
}

#[test]
fn what_is_measured_is_what_a_load_takes() {
    for name in [SMOLLM2, GEMMA3, "all-minilm.gguf"] {
        let Some(path) = model(name) else { continue };
        let _one = one_at_a_time();
        let mut params = params(path);
        params.embedding = name.contains("minilm");
        // A mapped file counts as a whole, with the tensors that were copied in another form.
        params.use_mmap = Some(false);
        compare(&params);
    }
}

#[test]
fn a_projector_is_measured_without_being_loaded() {
    let Some((path, projector)) = super::images::files("gemma3") else {
        return;
    };
    let _one = one_at_a_time();
    let size = fs_err::metadata(&projector).unwrap().len();
    let text_only = params(path);
    let seeing = LoadParams {
        projector: Some(ProjectorParams::original(projector)),
        ..text_only.clone()
    };
    let [without, with] = [&text_only, &seeing].map(|params| measure(params, &shapes()).unwrap());
    let host = |measured: &crate::protocol::Measured| {
        let first = measured.0[0].as_ref().unwrap();
        first.get(HOST).unwrap().clone()
    };
    assert_eq!(host(&without).projector, 0);
    assert!(host(&with).projector >= size / 2, "{:?}", host(&with));
    assert_eq!(host(&with).weights, host(&without).weights);
}

/// A pool smaller than the windows of all slots hides what a slot costs, so the scheduler must not measure with
/// such a pool.
#[test]
fn a_slot_of_a_model_with_windows_costs_its_window() {
    let Some(path) = model(GEMMA3) else { return };
    let _one = one_at_a_time();
    let kv = |n_ctx_pool, n_slots| {
        let shape = PoolShape {
            n_ctx_pool,
            n_slots,
            n_batch: 512,
            n_ubatch: 512,
        };
        let measured = measure(&params(path.clone()), &[shape]).unwrap();
        measured.0[0].as_ref().unwrap().get(HOST).unwrap().kv
    };
    // 15 layers with a window of 512 tokens, one KV head of 256 numbers, twice, of two bytes.
    let window = 15 * 512 * 256 * 2 * 2;
    assert_eq!(kv(65_536, 8) - kv(65_536, 2), 6 * window);
}
