//! Decides how many rows a decode call has (`n_batch`), and how many are computed at once (`n_ubatch`).

use std::ops::RangeInclusive;

use super::ModelSpec;

/// Rows of one decode call: on the CPU more than are computed at once are of no use; a GPU gains from longer
/// queues.
const CPU_BATCH: u32 = 512;
const GPU_BATCH: u32 = 2048;

/// Rows that are computed at once (`n_ubatch`): llama.cpp's default, and a value that makes prefill half again
/// as fast on a GPU, at the price of larger buffers and larger caches of sliding-window layers.
const UBATCH: u32 = 512;
const LARGE_UBATCH: u32 = 2048;

/// Rows that a request may ask for. They apply to all requests for the model: with fewer, every prompt would
/// crawl; more would take gigabytes of compute buffers.
const BATCHES: RangeInclusive<u32> = 32..=8192;

/// Rows of a vision model: some compute a whole image at once (Gemma 4: at most 1,120 rows).
const VISION_UBATCH: u32 = 1152;

/// Rows that may be computed at once, the most first: the plan takes the first that leaves enough room.
pub(in crate::scheduler) fn n_ubatches(spec: &ModelSpec, on_gpu: bool) -> Vec<u32> {
    let least = spec.projector.as_ref().map_or(1, |_| VISION_UBATCH);
    let wanted: &[u32] = match asked(spec) {
        Some(asked) => &[asked],
        // An embedding input is computed at once.
        None if spec.embedding => &[LARGE_UBATCH],
        None if on_gpu => &[LARGE_UBATCH, UBATCH],
        None => &[UBATCH],
    };
    let mut rows: Vec<u32> = wanted.iter().map(|rows| (*rows).max(least)).collect();
    rows.dedup();
    rows
}

/// Rows of one decode call.
pub(super) fn n_batch(spec: &ModelSpec, n_ubatch: u32, on_gpu: bool) -> u32 {
    let usual = if on_gpu { GPU_BATCH } else { CPU_BATCH };
    asked(spec).unwrap_or(usual).max(n_ubatch)
}

/// The rows of a decode call that the request asks for.
fn asked(spec: &ModelSpec) -> Option<u32> {
    let asked = spec.options.num_batch;
    asked.map(|n_rows| n_rows.clamp(*BATCHES.start(), *BATCHES.end()))
}
