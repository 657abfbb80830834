//! Prefixes that lost their slot: saved to memory or to files, and restored.

use std::path::Path;
use std::time::{Duration, Instant};

use super::embed::{embed, inputs};
use super::*;
use crate::engine::host_cache::HostCache;
use crate::protocol::{Adapter, ProjectorParams, SpillFiles};

const WINDOW: (&str, u32) = ("drover-fake.attention.sliding_window", 16);

/// A harness whose engine has a host cache with these parameters.
fn harness(model: &Path, n_slots: u32, spill: SpillParams) -> Harness {
    keeping(&LoadParams {
        spill,
        ..load_params(model, 4096, n_slots)
    })
}

fn keeping(params: &LoadParams) -> Harness {
    let mut harness = Harness::load(params);
    let can_cut = !harness.engine.executor.backend.is_windowed();
    harness.engine.keep_in(HostCache::open(params, can_cut));
    harness
}

fn memory(n_bytes: u64) -> SpillParams {
    SpillParams {
        memory_bytes: n_bytes,
        files: None,
    }
}

fn files(folder: &Path) -> SpillParams {
    SpillParams {
        memory_bytes: 0,
        files: Some(SpillFiles {
            folder: folder.to_owned(),
            limit_bytes: 1 << 20,
        }),
    }
}

/// The first turn of conversation `n`, of 261 tokens; it is answered with `n`.
fn turn(n: usize) -> GenerateParams {
    let text = format!("conversation {n} {}", "and so on ".repeat(30));
    params(&format!("{}[[say {n}]]", &text[..252]))
}

/// Continues conversation `n`, and returns how much of it was cached.
fn go_on(harness: &mut Harness, n: usize) -> u32 {
    let mut next = turn(n);
    let PromptPart::Text(text) = &mut next.prompt[0] else {
        unreachable!()
    };
    text.push_str(&format!("{n}<|eos|><|im_start|>user\nagain {n}<|im_end|>"));
    let outcome = harness.ask(next);
    assert_eq!(outcome.text, format!("again {n}"));
    outcome.finished().n_cached
}

/// An engine of this model that has answered these turns and has been closed.
fn ended(model: &Path, n_slots: u32, folder: &Path, turns: &[usize]) -> Harness {
    let mut harness = harness(model, n_slots, files(folder));
    for &n in turns {
        harness.ask(turn(n));
    }
    close(&mut harness);
    harness
}

fn close(harness: &mut Harness) {
    let deadline = Instant::now() + Duration::from_secs(60);
    harness.engine.close(deadline);
}

fn sum(harness: &Harness, of: impl Fn(&StepStats) -> u32) -> u32 {
    harness.steps.iter().map(of).sum()
}

#[test]
fn a_conversation_that_lost_its_slot_comes_back_from_memory() {
    for keys in [&[][..], &[WINDOW]] {
        let model = model(keys);
        let mut harness = harness(model.path(), 2, memory(1 << 20));
        let mut n_first = 0;
        for n in 0..6 {
            n_first = harness.ask(turn(n)).finished().n_prompt;
        }
        for n in 0..6 {
            assert!(go_on(&mut harness, n) > n_first, "{keys:?} {n}");
        }
        assert!(sum(&harness, |stats| stats.n_spilled) >= 4);
        assert!(sum(&harness, |stats| stats.n_restored) >= 4);
    }
}

#[test]
fn an_embedding_that_needs_the_slot_costs_no_conversation() {
    let model = model(&[]);
    let mut harness = harness(model.path(), 1, memory(1 << 20));
    let n_first = harness.ask(turn(1)).finished().n_prompt;
    embed(&mut harness, 100, inputs(&["a text"]));
    assert_eq!(harness.engine.state.ledger.len(0), 0);
    assert!(go_on(&mut harness, 1) > n_first);
}

#[test]
fn without_room_or_wish_nothing_is_kept() {
    let model = model(&[]);
    for n_bytes in [0, 500] {
        let mut harness = harness(model.path(), 1, memory(n_bytes));
        for n in 0..3 {
            harness.ask(turn(n));
        }
        assert!(go_on(&mut harness, 0) < 20, "what all have in common");
        assert_eq!(sum(&harness, |stats| stats.n_restored), 0);
    }
}

#[test]
fn a_head_that_is_kept_serves_prompts_that_part_from_it() {
    let model = model(&[]);
    let mut harness = harness(model.path(), 1, memory(1 << 20));
    let head = "a system prompt that everybody has. ".repeat(8);
    harness.ask(params(&format!("{head}[[say one]]")));
    harness.ask(turn(0));
    let outcome = harness.ask(params(&format!("{head}[[say two]]")));
    assert_eq!(outcome.text, "two");
    assert!(outcome.finished().n_cached as usize >= head.len());
}

#[test]
fn what_is_applied_to_a_model_makes_it_another_one() {
    let model = model(&[]);
    let folder = tempfile::tempdir().unwrap();
    let [path, other] = [super::model(&[]), super::model(&[])];
    let with = |adapters: &[(&Path, f32)], projectors: &[&Path]| LoadParams {
        spill: files(folder.path()),
        adapters: adapters
            .iter()
            .map(|&(path, scale)| Adapter {
                path: path.to_owned(),
                scale,
            })
            .collect(),
        projector: projectors.first().copied().map(ProjectorParams::original),
        ..load_params(model.path(), 4096, 2)
    };
    let (path, other) = (path.path(), other.path());
    let mut first = keeping(&with(&[(path, 1.0)], &[path]));
    first.ask(turn(1));
    close(&mut first);
    for (adapters, projectors, n_found) in [
        (&[(path, 1.0)][..], &[path][..], 1),
        (&[], &[path], 0),
        (&[(path, 0.5)], &[path], 0),
        (&[(other, 1.0)], &[path], 0),
        (&[(path, 1.0)], &[], 0),
        (&[(path, 1.0)], &[other], 0),
    ] {
        let mut next = keeping(&with(adapters, projectors));
        next.ask(turn(1));
        let n_restored = sum(&next, |stats| stats.n_restored);
        assert_eq!(n_restored, n_found, "{adapters:?} {projectors:?}");
        // The file stays for the next engine.
        next.engine.keep_in(HostCache::off());
    }
}

#[test]
fn the_next_runner_finds_what_the_last_one_had() {
    for keys in [&[][..], &[WINDOW]] {
        let model = model(keys);
        let folder = tempfile::tempdir().unwrap();
        let first = ended(model.path(), 2, folder.path(), &[1, 2]);
        let n_first = first.outcomes[&1].finished().n_prompt;
        let mut second = harness(model.path(), 2, files(folder.path()));
        for n in [2, 1] {
            assert!(go_on(&mut second, n) > n_first, "{keys:?}");
        }
        // Another model does not use these files, though its bytes are the same.
        let other = super::model(keys);
        let mut other = harness(other.path(), 2, files(folder.path()));
        other.ask(turn(1));
        assert_eq!(sum(&other, |stats| stats.n_restored), 0);
    }
}

#[test]
fn what_two_slots_hold_is_written_once() {
    for keys in [&[][..], &[WINDOW]] {
        let model = model(keys);
        let folder = tempfile::tempdir().unwrap();
        let mut harness = harness(model.path(), 2, files(folder.path()));
        let ids = [1, 1].map(|n| harness.submit(turn(n)));
        harness.run();
        assert_eq!(
            harness.outcomes[&ids[0]].text,
            harness.outcomes[&ids[1]].text
        );
        assert_eq!(
            harness.engine.state.ledger.held(0),
            harness.engine.state.ledger.held(1)
        );
        close(&mut harness);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1, "{keys:?}");
    }
}

#[test]
fn no_file_is_written_when_the_time_is_up() {
    let model = model(&[]);
    let folder = tempfile::tempdir().unwrap();
    let mut harness = harness(model.path(), 1, files(folder.path()));
    harness.ask(turn(1));
    harness.engine.close(Instant::now());
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_file_is_read_while_others_are_answered() {
    let model = model(&[]);
    let folder = tempfile::tempdir().unwrap();
    drop(ended(model.path(), 1, folder.path(), &[1]));
    let mut harness = harness(model.path(), 2, files(folder.path()));
    let held = harness.engine.executor.host.hold();
    let waiting = harness.submit(turn(1));
    let other = harness.submit(params("other"));
    while !harness.outcomes[&other].is_over() {
        harness.step();
    }
    assert!(harness.outcomes[&waiting].text.is_empty());
    drop(held);
    harness.run();
    assert_eq!(harness.outcomes[&waiting].text, "1");
    assert_eq!(sum(&harness, |stats| stats.n_restored), 1);
}

#[test]
fn a_state_that_does_not_go_in_is_computed() {
    let model = model(&[]);
    let folder = tempfile::tempdir().unwrap();
    let first = ended(model.path(), 1, folder.path(), &[1]);
    let kept = first.engine.state.ledger.held(0);
    let mut second = harness(model.path(), 2, files(folder.path()));
    // A sequence runs, and leaves less room than the state needs.
    let mut runs = params("wait [[repeat 40]]");
    // One token per step: with a seed there are no drafts, with which it might end too early.
    runs.sampling.seed = Some(1);
    let running = second.submit(runs);
    for _ in 0..30 {
        second.step();
    }
    let n_used = second.engine.executor.backend.n_used();
    second.engine.executor.backend.shrink(4096 - n_used - 250);
    let id = second.submit(turn(1));
    assert!(second.engine.executor.host.has(kept));
    second.run();
    assert!(
        !second.engine.executor.host.has(kept),
        "it was tried and given up"
    );
    assert_eq!(second.outcomes[&running].text.len(), 40 * 5 - 1);
    assert_eq!(second.outcomes[&id].failure, None);
    assert_eq!(sum(&second, |stats| stats.n_restored), 0);
}

#[test]
fn random_conversations_get_their_own_answers() {
    for keys in [&[][..], &[WINDOW]] {
        let model = model(keys);
        let folder = tempfile::tempdir().unwrap();
        let spill = SpillParams {
            memory_bytes: 6000,
            ..files(folder.path())
        };
        let mut random = fastrand::Rng::with_seed(5);
        let mut harness = harness(model.path(), 3, spill);
        let mut histories = vec![String::new(); 8];
        for round in 0..60 {
            let mut asked = Vec::new();
            for _ in 0..random.usize(1..4) {
                let n = random.usize(0..histories.len());
                if asked.iter().any(|(other, _, _)| *other == n) {
                    continue;
                }
                let history = &mut histories[n];
                if history.len() > 900 {
                    history.clear();
                }
                let question = format!("{n} in {round} {}", "on ".repeat(random.usize(0..80)));
                let question = question.trim().to_owned();
                history.push_str(&format!("<|im_start|>user\n{question}<|im_end|>"));
                asked.push((n, question, harness.submit(params(history))));
            }
            harness.run();
            for (n, question, id) in asked {
                assert_eq!(harness.outcomes[&id].text, question);
                histories[n].push_str(&format!("{question}<|im_end|>"));
            }
        }
        assert!(sum(&harness, |stats| stats.n_restored) > 5, "{keys:?}");
    }
}
