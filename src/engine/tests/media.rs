//! Images: cached as a whole or not at all, distinguished by content, and encoded without delaying other
//! requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::engine::host_cache::HostCache;
use crate::protocol::{FailureKind, FinishReason, ProjectorParams};

const WINDOW: (&str, u32) = ("drover-fake.attention.sliding_window", 16);

/// A model with a projector.
fn with_projector(n_ctx_pool: u32, n_slots: u32, keys: &[(&str, u32)]) -> Harness {
    let file = model(keys);
    Harness::load(&LoadParams {
        projector: Some(ProjectorParams::original("projector")),
        ..load_params(file.path(), n_ctx_pool, n_slots)
    })
}

/// An image of this many rows.
fn image(name: &str, n_rows: usize) -> PromptPart {
    let text = format!("image {name}");
    let filler = ".".repeat(n_rows - text.len());
    PromptPart::Media(STANDARD.encode(text + &filler))
}

fn text(text: &str) -> PromptPart {
    PromptPart::Text(text.to_owned())
}

fn with_images(parts: Vec<PromptPart>) -> GenerateParams {
    GenerateParams {
        prompt: parts,
        ..params("")
    }
}

/// BOS, 5 bytes, the image, and a question that is answered with `said`.
fn question(image: PromptPart, said: &str) -> GenerateParams {
    with_images(vec![
        text("look "),
        image,
        text(&format!(" [[say {said}]]")),
    ])
}

#[test]
fn an_image_is_evaluated_once_and_known_again() {
    for mut harness in [
        with_projector(512, 2, &[]),
        with_projector(512, 2, &[WINDOW]),
    ] {
        let first = harness.ask(question(image("cat", 40), "a cat"));
        assert_eq!(first.text, "a cat");
        let n_prompt = first.n_prompt.unwrap();
        assert_eq!(n_prompt as usize, 1 + 5 + 40 + " [[say a cat]]".len());
        assert_eq!(harness.n_prefilled(), n_prompt);

        // The same image is not evaluated again.
        let before = harness.n_prefilled();
        let again = harness.ask(question(image("cat", 40), "a cat"));
        let n_cached = again.finished().n_cached;
        assert!(n_cached >= 1 + 5 + 40, "{n_cached}");
        assert_eq!(harness.n_prefilled() - before, n_prompt - n_cached);
    }
}

#[test]
fn a_template_with_a_bos_of_its_own_gets_no_second_one() {
    let mut harness = with_projector(512, 2, &[]);
    let with_bos = vec![text("<|bos|>look "), image("cat", 40), text(" [[say x]]")];
    let outcome = harness.ask(with_images(with_bos));
    assert_eq!(outcome.n_prompt, Some(1 + 5 + 40 + 10));
}

#[test]
fn another_image_in_the_same_place_is_another_prompt() {
    let mut harness = with_projector(512, 2, &[]);
    let show = |name: &str| {
        let before = "in front of the image stands as much as after it.";
        with_images(vec![text(before), image(name, 20), text("[[say done]]")])
    };
    harness.ask(show("cat"));
    let outcome = harness.ask(show("dog"));
    assert_eq!(outcome.text, "done");
    assert_eq!(
        outcome.finished().n_cached,
        1 + 49,
        "what stands before the image"
    );
}

#[test]
fn a_conversation_goes_on_after_its_images() {
    for keys in [&[][..], &[WINDOW]] {
        let mut harness = with_projector(1024, 4, keys);
        let mut prompt = vec![text("<|im_start|>user\nlook "), image("cat", 100)];
        prompt.push(text("[[say it is a cat]]<|im_end|>"));
        let first = harness.ask(with_images(prompt.clone()));
        let n_first = first.n_prompt.unwrap() as usize + "it is a cat".len();
        assert_eq!(first.text, "it is a cat");

        prompt.push(text("it is a cat<|eos|><|im_start|>user\nand this? "));
        prompt.push(image("dog", 60));
        prompt.push(text("[[say a dog]]<|im_end|>"));
        let second = harness.ask(with_images(prompt));
        assert_eq!(second.text, "a dog");
        assert_eq!(second.finished().n_cached as usize, n_first);
    }
}

#[test]
fn many_who_show_the_same_image_wait_for_the_first() {
    for mut harness in [
        with_projector(4096, 8, &[]),
        with_projector(4096, 8, &[WINDOW]),
    ] {
        for n in 0..8 {
            harness.submit(question(image("cat", 200), &n.to_string()));
        }
        harness.run();
        for id in 1..=8 {
            assert_eq!(harness.outcomes[&id].text, (id - 1).to_string());
        }
        let n_prefilled = harness.n_prefilled();
        assert!(n_prefilled < 206 + 8 * 30, "{n_prefilled}");
    }
}

#[test]
fn others_write_on_between_images() {
    let mut harness = with_projector(4096, 4, &[]);
    let writer = harness.submit(params("write [[repeat 30]]"));
    harness.step();
    let mut parts = Vec::new();
    for n in 0..5 {
        parts.push(image(&n.to_string(), 100));
    }
    parts.push(text(" [[say done]]"));
    let viewer = harness.submit(with_images(parts));
    let mut lengths = Vec::new();
    while harness.outcomes[&viewer].text.is_empty() {
        harness.step();
        lengths.push(harness.outcomes[&writer].text.len());
    }
    assert!(lengths.len() >= 5, "a step for each image");
    let each_is_longer = lengths.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(each_is_longer, "{lengths:?}");
    harness.run();
    assert_eq!(harness.outcomes[&viewer].text, "done");
}

#[test]
fn images_make_room_and_take_it() {
    let mut harness = with_projector(256, 4, &[]);
    harness.ask(params(&"idle ".repeat(30)));
    harness.ask(question(image("cat", 150), "a cat"));
    assert!(harness.steps.iter().any(|stats| stats.n_evicted > 0));
    // Two images that do not fit at the same time.
    let both = ["one", "two"].map(|name| harness.submit(question(image(name, 180), name)));
    harness.run();
    let texts = both.map(|id| harness.outcomes[&id].text.clone());
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn an_image_larger_than_the_context_is_refused() {
    let mut harness = with_projector(256, 2, &[]);
    let outcome = harness.ask(question(image("poster", 300), "no"));
    let failure = outcome.failure.as_ref().unwrap();
    assert_eq!(failure.kind, FailureKind::ContextExceeded);
}

#[test]
fn a_full_context_with_images_ends_instead_of_shifting() {
    let mut harness = with_projector(512, 2, &[]);
    let request = GenerateParams {
        n_ctx: 128,
        shift: true,
        ..question(image("cat", 60), &"long ".repeat(60))
    };
    let prompt: usize = 1 + 5 + 60 + " [[say ]]".len() + 300;
    assert!(prompt > 128);
    let failed = harness.ask(request).failure.is_some();
    assert!(failed, "the prompt alone is too long");
    let request = GenerateParams {
        n_ctx: 128,
        shift: true,
        prompt: vec![image("cat", 60), text("say it again [[repeat 20]]")],
        ..params("")
    };
    let outcome = harness.ask(request);
    assert_eq!(outcome.finished().reason, FinishReason::Length);
}

#[test]
fn what_is_no_image_is_refused_and_so_is_an_end_without_text() {
    let mut harness = with_projector(256, 2, &[]);
    let broken = PromptPart::Media(STANDARD.encode("a letter"));
    let outcome = harness.ask(with_images(vec![broken, text(" what is it?")]));
    assert_eq!(outcome.failure.as_ref().unwrap().kind, FailureKind::Invalid);

    let outcome = harness.ask(with_images(vec![text("look "), image("cat", 20)]));
    let failure = outcome.failure.as_ref().unwrap();
    assert!(
        failure.message.contains("must not end with an image"),
        "{failure:?}"
    );

    let mut blind = Harness::new(256, 2);
    let outcome = blind.ask(question(image("cat", 20), "no"));
    let failure = outcome.failure.as_ref().unwrap();
    assert_eq!(failure.kind, FailureKind::Unsupported);
    assert!(failure.message.contains("cannot see images"), "{failure:?}");
}

#[test]
fn images_come_back_from_outside_the_cache() {
    let file = model(&[WINDOW]);
    let params = LoadParams {
        projector: Some(ProjectorParams::original("projector")),
        spill: SpillParams {
            memory_bytes: 1 << 20,
            files: None,
        },
        ..load_params(file.path(), 2048, 1)
    };
    let mut harness = Harness::load(&params);
    harness.engine.keep_in(HostCache::open(&params, false));
    let first = question(image("cat", 300), "a cat");
    let n_prompt = harness.ask(first.clone()).n_prompt.unwrap();
    harness.ask(super::params(&"something else ".repeat(20)));
    let mut next = first;
    next.prompt.push(text("a cat<|eos|> [[say still]]"));
    let outcome = harness.ask(next);
    assert_eq!(outcome.text, "still");
    assert!(outcome.finished().n_cached >= n_prompt, "{outcome:?}");
}

/// A runner of a model with a projector.
fn runner_with_projector() -> (runner::Runner, tempfile::NamedTempFile) {
    let mut runner = runner::start();
    let file = model(&[]);
    let loaded = runner.load_with(LoadParams {
        projector: Some(ProjectorParams::original("projector")),
        ..load_params(file.path(), 4096, 2)
    });
    assert!(matches!(loaded, Event::Loaded(_)));
    (runner, file)
}

/// This many images that take time, and some text.
fn album(n_images: usize) -> Box<GenerateParams> {
    let mut prompt: Vec<_> = (0..n_images)
        .map(|n| image(&format!("slow {n}"), 20))
        .collect();
    prompt.push(text("[[say done]]"));
    Box::new(with_images(prompt))
}

#[test]
fn one_picture_does_not_wait_for_an_album() {
    let (mut runner, _file) = runner_with_projector();
    for (id, n_images) in [(1, 30), (2, 1)] {
        let params = album(n_images);
        runner.send(&Command::Generate { id, params });
    }
    let event = runner.event();
    assert!(matches!(event, Event::Started { id: 2, .. }), "{event:?}");
}

#[test]
fn an_album_that_nobody_waits_for_is_closed() {
    let (mut runner, _file) = runner_with_projector();
    let begun = std::time::Instant::now();
    for id in 1..=3 {
        let params = album(100);
        runner.send(&Command::Generate { id, params });
    }
    for id in 1..=3 {
        runner.send(&Command::Cancel { id });
    }
    let params = album(1);
    runner.send(&Command::Generate { id: 4, params });
    assert!(matches!(runner.event(), Event::Started { id: 4, .. }));
    // Encoding all images takes six seconds.
    assert!(begun.elapsed() < std::time::Duration::from_secs(3));
}

#[test]
fn an_album_larger_than_the_context_is_closed_where_that_is_full() {
    let (mut runner, _file) = runner_with_projector();
    let begun = std::time::Instant::now();
    let params = Box::new(GenerateParams {
        n_ctx: 100,
        ..*album(100)
    });
    runner.send(&Command::Generate { id: 1, params });
    let Event::Failed { failure, .. } = runner.event() else {
        panic!("not refused")
    };
    assert_eq!(failure.kind, FailureKind::ContextExceeded);
    // Encoding all images takes two seconds.
    assert!(begun.elapsed() < std::time::Duration::from_secs(1));
}

#[test]
fn a_reader_that_was_cancelled_does_not_come_back() {
    let mut runner = runner::start();
    let file = model(&[]);
    let loaded = runner.load_with(LoadParams {
        projector: Some(ProjectorParams::original("projector")),
        ..load_params(file.path(), 256, 2)
    });
    assert!(matches!(loaded, Event::Loaded(_)));
    for id in [1, 2] {
        // The first one would generate for seconds if it were not cancelled.
        let said = if id == 1 {
            "it [[slow 20]] [[repeat 30]]"
        } else {
            "it"
        };
        let prompt = vec![image("cat", 20), text(said)];
        let params = Box::new(with_images(prompt));
        runner.send(&Command::Generate { id, params });
        if id == 1 {
            runner.send(&Command::Cancel { id });
        }
    }
    // However far the first one got, it sends nothing more before the second one ends.
    let mut finished = Vec::new();
    while finished.is_empty() {
        match runner.event() {
            Event::Step { updates, .. } => {
                finished.extend(
                    updates
                        .iter()
                        .filter(|u| u.finished.is_some())
                        .map(|u| u.id),
                );
            }
            Event::Started { .. } => {}
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(finished, [2]);
}
