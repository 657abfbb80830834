//! What the engine's decisions cost apart from the model, and a frame between daemon and runner:
//! `cargo bench --no-default-features --features bench --bench engine`.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run has nothing to say"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use drover::engine::bench::{Planner, Slots, TopK, best};
use drover::protocol::{Event, StepStats, Update, framing};

fn planner(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan a call");
    for n_sequences in [1, 16, 64] {
        let planner = Planner::new(n_sequences);
        let name = format!("{n_sequences} sequences");
        group.bench_function(name, |bench| bench.iter(|| planner.plan()));
    }
    group.finish();
}

fn prefix(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look for a beginning");
    for (n_slots, n_tokens, n_shared) in [
        (16, 4_000, 3_800),
        (64, 4_000, 3_800),
        (16, 32_000, 16_000),
        (64, 32_000, 30_000),
    ] {
        let slots = Slots::new(n_slots, n_tokens, n_shared);
        assert_eq!(slots.choose(), n_shared);
        let name = format!("{n_slots} slots of {n_tokens} tokens, {n_shared} shared");
        group.bench_function(name, |bench| bench.iter(|| slots.choose()));
    }
    group.finish();
}

fn shortlist(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick from logits");
    for n_vocab in [49_152_u32, 262_144] {
        let mut random = fastrand::Rng::with_seed(5);
        let logits: Vec<f32> = (0..n_vocab).map(|_| random.f32() * 24.0 - 12.0).collect();
        let mut top_k = TopK::new(40);
        assert!(top_k.find(&logits) >= 40);
        (0..64).for_each(|token| top_k.accept(token * 7));
        let name = format!("the best 40 of {n_vocab}");
        group.bench_function(name, |bench| bench.iter(|| top_k.find(&logits)));
        let name = format!("the best of {n_vocab}");
        group.bench_function(name, |bench| bench.iter(|| best(&logits)));
    }
    group.finish();
}

/// A step's frame with a token for each of the sequences.
fn frame(n_sequences: u64) -> Event {
    let updates = (0..n_sequences).map(|id| Update {
        id,
        text: " token".to_owned(),
        logprobs: Vec::new(),
        finished: None,
    });
    Event::Step {
        updates: updates.collect(),
        stats: StepStats::default(),
    }
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a step's frame");
    for n_sequences in [1, 16] {
        let event = frame(n_sequences);
        let bytes = framing::encode(&event).unwrap();
        group.bench_function(format!("write, {n_sequences} sequences"), |bench| {
            bench.iter(|| framing::encode(&event).unwrap());
        });
        group.bench_function(format!("read, {n_sequences} sequences"), |bench| {
            bench.iter(|| framing::decode::<Event>(&bytes).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, planner, prefix, shortlist, codec);
criterion_main!(benches);
