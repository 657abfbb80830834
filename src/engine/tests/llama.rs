//! The engine with llama.cpp and the small models of `DROVER_TEST_MODELS`; without it they say so and pass.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::*;
use crate::engine::backend::llama::Llama;
use crate::engine::draft_model::{self, DraftModel};
use crate::engine::host_cache::HostCache;
use crate::protocol::{Constraint, DraftParams, SpillFiles};

#[expect(
    clippy::disallowed_methods,
    reason = "the models are outside the repository"
)]
fn path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("DROVER_TEST_MODELS").map(|dir| Path::new(&dir).join(name));
    let path = path.filter(|path| path.is_file());
    if path.is_none() {
        eprintln!("skipped: no {name} (DROVER_TEST_MODELS)");
    }
    path
}

/// The outcomes of requests that run together, and the steps that they took.
fn answers(
    path: &Path,
    speculation: Speculation,
    requests: &[GenerateParams],
) -> (Vec<Outcome>, Vec<StepStats>) {
    outcomes(harness(path, speculation), requests)
}

fn harness(path: &Path, speculation: Speculation) -> Harness<Llama> {
    let load = load(path, speculation);
    Harness::over(Llama::load(&load, &mut |_| ()).unwrap(), &load)
}

fn load(path: &Path, speculation: Speculation) -> LoadParams {
    LoadParams {
        speculation,
        n_gpu_layers: 0,
        // A single thread need not wait for another on a busy machine.
        n_threads: 1,
        ..load_params(path, 4096, 4)
    }
}

/// A model with another one as its draft model.
fn drafted(path: &Path, draft: &Path) -> Result<Harness<Llama>, String> {
    let mut harness = harness(path, Speculation::On);
    let draft = DraftParams {
        model: ModelFile::original(draft),
        n_predict: 4,
    };
    let params = draft_model::load_params(&load(path, Speculation::On), &draft);
    let draft = Llama::load(&params, &mut |_| ()).unwrap();
    let draft = DraftModel::new(draft, &harness.engine.executor.backend, 4);
    harness
        .engine
        .draft_with(draft.map_err(|error| error.to_string())?);
    Ok(harness)
}

fn outcomes(
    mut harness: Harness<Llama>,
    requests: &[GenerateParams],
) -> (Vec<Outcome>, Vec<StepStats>) {
    let ids: Vec<_> = requests
        .iter()
        .map(|request| harness.submit(request.clone()))
        .collect();
    harness.run_with(Harness::step_unchecked);
    let outcomes = ids.iter().map(|id| harness.outcomes.remove(id).unwrap());
    (outcomes.collect(), harness.steps)
}

const LIST: &str = "fn area(width: f64, height: f64) -> f64 {\n    width * height\n}\n\n\
    fn perimeter(width: f64, height: f64) -> f64 {\n    2.0 * (width + height)\n}\n";

/// A prompt that the models continue by copying.
fn copying() -> GenerateParams {
    let mut request = params(&format!("{LIST}\n{LIST}\n{LIST}\nfn area(width"));
    request.sampling.temperature = 0.0;
    request.n_predict = Some(32);
    request
}

fn sum(steps: &[StepStats], of: impl Fn(&StepStats) -> u32) -> u32 {
    steps.iter().map(of).sum()
}

#[test]
fn a_call_that_is_broken_off_changes_no_answer() {
    for name in ["smollm2-135m.gguf", "gemma3-270m.gguf"] {
        let Some(path) = path(name) else { continue };
        let mut request = params(LIST);
        request.priority = Priority::Batch;
        request.sampling.temperature = 0.0;
        request.sampling.min_tokens = 24;
        request.n_predict = Some(24);
        let (undisturbed, _) = answers(&path, Speculation::Off, std::slice::from_ref(&request));
        let mut harness = harness(&path, Speculation::Off);
        let id = harness.submit(request);
        // Each call is interrupted once, except the first one, which is guaranteed to jobs.
        harness.step_unchecked();
        harness.run_with(|harness| {
            let n_calls = |harness: &Harness<Llama>| {
                harness.steps.iter().filter(|step| step.n_rows > 0).count()
            };
            let before = n_calls(harness);
            harness.engine.interrupt().raise();
            harness.step_unchecked();
            harness.engine.interrupt().lower();
            assert_eq!(n_calls(harness), before, "nothing was computed");
            harness.step_unchecked();
        });
        let (undisturbed, disturbed) = (&undisturbed[0], &harness.outcomes[&id]);
        assert_eq!(undisturbed.text, disturbed.text, "{name}");
        assert_eq!(disturbed.finished().n_generated, 24);
    }
}

#[test]
fn drafts_change_no_greedy_answer_of_a_real_model() {
    for name in ["smollm2-135m.gguf", "gemma3-270m.gguf"] {
        let Some(path) = path(name) else { return };
        let mut constrained = copying();
        let json = r#"{"name": "apple", "colour": "red", "price": 3, "in_stock": true}"#;
        constrained.prompt = vec![PromptPart::Text(format!("{json}\n{json}\n{json}\n"))];
        constrained.constraint = Some(Constraint::JsonObject);
        let mut seeded = copying();
        seeded.sampling.temperature = 0.3;
        seeded.sampling.seed = Some(4);
        // The first request covers the window; the others take long.
        let with_samplers = name.starts_with("smollm2").then_some([constrained, seeded]);
        for request in [copying()]
            .into_iter()
            .chain(with_samplers.into_iter().flatten())
        {
            let requests = [request];
            let (plain, steps) = answers(&path, Speculation::Off, &requests);
            assert_eq!(sum(&steps, |stats| stats.n_drafted), 0);
            let (drafted_answers, fewer) = answers(&path, Speculation::On, &requests);
            assert_eq!(drafted_answers[0].text, plain[0].text, "{name}");
            let finished = drafted_answers[0].finished();
            assert_eq!(finished.n_generated, plain[0].finished().n_generated);
            eprintln!(
                "{name}: {} tokens, {} steps instead of {}, {} of {} drafts accepted",
                finished.n_generated,
                fewer.len(),
                steps.len(),
                finished.n_accepted,
                finished.n_drafted,
            );
            assert!(
                finished.n_accepted > 0 && fewer.len() < steps.len(),
                "{name}"
            );
            // A window that was cut back wrongly would have to be evaluated again.
            let prefill = |stats: &StepStats| stats.n_prefill;
            assert_eq!(sum(&fewer, prefill), sum(&steps, prefill), "{name}");
        }
    }
}

#[test]
fn several_real_sequences_guess_in_one_batch() {
    for name in ["smollm2-135m.gguf", "gemma3-270m.gguf"] {
        let Some(path) = path(name) else { return };
        let requests: Vec<GenerateParams> = ["circle", "square", "sphere"]
            .iter()
            .map(|shape| {
                let mut request = copying();
                let text = format!("// The {shape}\n{LIST}\n").repeat(3);
                request.prompt = vec![PromptPart::Text(format!("{text}// The {shape}\nfn"))];
                request
            })
            .collect();
        let (plain, steps) = answers(&path, Speculation::Off, &requests);
        let (drafted_answers, fewer) = answers(&path, Speculation::On, &requests);
        let n_same = plain
            .iter()
            .zip(&drafted_answers)
            .filter(|(a, b)| a.text == b.text)
            .count();
        // The grouping of rows may flip a close choice, but not most of three copies.
        assert!(n_same >= 2, "{name}: {plain:?} {drafted_answers:?}");
        let n_right = sum(&fewer, |stats| stats.n_accepted);
        eprintln!(
            "{name}: {} steps instead of {}, {n_right} drafts accepted",
            fewer.len(),
            steps.len()
        );
        assert!(n_right > 0 && fewer.len() < steps.len(), "{name}");
    }
}

#[test]
fn wrong_guesses_leave_nothing_behind_in_a_window() {
    // Gemma 3 attends to the last 512 tokens: older cells are gone, and those of drafts must be dropped, too.
    let Some(path) = path("gemma3-270m.gguf") else {
        return;
    };
    let line = |n: u32| {
        format!(
            "{n}. box {} holds {} red apples and a pear\n",
            n * 7 % 10,
            n * 3 % 8
        )
    };
    let mut request = params(&(1..60).map(line).collect::<String>());
    request.sampling.temperature = 0.0;
    request.n_predict = Some(80);
    let requests = [request];
    let (plain, steps) = answers(&path, Speculation::Off, &requests);
    let (drafted_answers, fewer) = answers(&path, Speculation::On, &requests);
    assert!(plain[0].finished().n_prompt > 600);
    assert_eq!(drafted_answers[0].text, plain[0].text);
    let finished = drafted_answers[0].finished();
    assert!(finished.n_accepted < finished.n_drafted, "{finished:?}");
    let prefill = |stats: &StepStats| stats.n_prefill;
    assert_eq!(sum(&fewer, prefill), sum(&steps, prefill));
}

#[test]
fn a_model_that_drafts_for_itself_guesses_right() {
    for name in ["smollm2-135m.gguf", "gemma3-270m.gguf"] {
        let Some(path) = path(name) else { return };
        // Longer than Gemma's window: the draft model must go back beyond it.
        let n_sentences = if name.starts_with("gemma3") { 33 } else { 4 };
        let story = "Once upon a time there was a fox who lived in a wood with a badger. ";
        let mut request = params(&format!("{}One day the", story.repeat(n_sentences)));
        request.sampling.temperature = 0.0;
        request.sampling.min_tokens = 24;
        request.n_predict = Some(24);
        let requests = [request];
        let (plain, steps) = answers(&path, Speculation::Off, &requests);
        let (drafted_answers, fewer) = outcomes(drafted(&path, &path).unwrap(), &requests);
        let finished = drafted_answers[0].finished();
        eprintln!(
            "{name}: {} steps instead of {}, {} of {} drafts accepted",
            fewer.len(),
            steps.len(),
            finished.n_accepted,
            finished.n_drafted,
        );
        assert!(n_sentences < 10 || plain[0].finished().n_prompt > 512);
        assert_eq!(drafted_answers[0].text, plain[0].text, "{name}");
        assert!(
            finished.n_accepted * 3 > finished.n_generated,
            "{finished:?}"
        );
        assert!(
            finished.n_accepted * 10 > finished.n_drafted * 8,
            "{finished:?}"
        );
    }
}

#[test]
fn several_real_sequences_are_drafted_answers_by_a_draft_model() {
    let Some(path) = path("smollm2-135m.gguf") else {
        return;
    };
    let requests = ["circle", "square", "sphere"].map(|shape| {
        let mut request = params(&format!("The {shape} is a shape that"));
        request.sampling.temperature = 0.0;
        request.n_predict = Some(32);
        request
    });
    let (plain, _) = answers(&path, Speculation::Off, &requests);
    let (drafted_answers, steps) = outcomes(drafted(&path, &path).unwrap(), &requests);
    let pairs = plain.iter().zip(&drafted_answers);
    let n_same = pairs.filter(|(a, b)| a.text == b.text).count();
    // The grouping of rows may flip a close choice, but not most of three texts.
    assert!(n_same >= 2, "{plain:?} {drafted_answers:?}");
    assert!(sum(&steps, |stats| stats.n_accepted) > 12);
}

#[test]
fn a_draft_model_of_another_vocabulary_is_refused() {
    let (Some(path), Some(other)) = (path("smollm2-135m.gguf"), path("gemma3-270m.gguf")) else {
        return;
    };
    let refused = drafted(&path, &other).map(|_| ()).unwrap_err();
    assert!(
        refused.starts_with("their vocabularies differ: "),
        "{refused}"
    );
}

/// Prompts of about 560 tokens, more than Gemma's window, with prefixes of their own.
fn stories() -> Vec<GenerateParams> {
    let story = |name: &&str| {
        let text = format!("{name} went to the market and bought bread, milk and a blue hat. ");
        let mut request = params(&format!("{}Then {name}", text.repeat(31)));
        request.sampling.temperature = 0.0;
        request.n_predict = Some(8);
        request
    };
    ["Anna", "Bertram", "Clara"].iter().map(story).collect()
}

#[test]
fn a_state_of_a_real_model_comes_back_as_it_was() {
    for name in ["smollm2-135m.gguf", "gemma3-270m.gguf"] {
        let Some(path) = path(name) else { return };
        let folder = tempfile::tempdir().unwrap();
        let load = LoadParams {
            spill: SpillParams {
                memory_bytes: 0,
                files: Some(SpillFiles {
                    folder: folder.path().to_owned(),
                    limit_bytes: 1 << 30,
                }),
            },
            ..load(&path, Speculation::Off)
        };
        let start = || {
            let backend = Llama::load(&load, &mut |_| ()).unwrap();
            let spill = HostCache::open(&load, !backend.is_windowed());
            let mut harness = Harness::over(backend, &load);
            harness.engine.keep_in(spill);
            harness
        };
        let mut first = start();
        let mut next = stories();
        for request in &mut next {
            let id = first.submit(request.clone());
            first.run_with(Harness::step_unchecked);
            // The next prompt continues where the answer ended.
            let PromptPart::Text(text) = &mut request.prompt[0] else {
                unreachable!()
            };
            text.push_str(&first.outcomes[&id].text);
        }
        // Closing leaves the slots as they are.
        first.engine.close(Instant::now() + Duration::from_secs(60));
        let mut second = start();
        for request in next {
            let [one, other] = [&mut first, &mut second].map(|harness| {
                let id = harness.submit(request.clone());
                harness.run_with(Harness::step_unchecked);
                harness.outcomes.remove(&id).unwrap()
            });
            assert_eq!(one.text, other.text, "{name}");
            for outcome in [one, other] {
                let finished = outcome.finished();
                assert!(finished.n_cached + 9 > finished.n_prompt, "{finished:?}");
            }
        }
        assert_eq!(sum(&first.steps, |stats| stats.n_restored), 0, "{name}");
        assert_eq!(sum(&second.steps, |stats| stats.n_restored), 3, "{name}");
    }
}
