//! When the pool is short: which sequences wait, are preempted, or are ended.

use proptest::prelude::*;

use super::*;
use crate::protocol::{EmbedInput, EmbedParams, FailureKind, FinishReason};

#[test]
fn idle_caches_make_way() {
    let mut harness = Harness::new(128, 4);
    for name in ["aaaa", "bbbb", "cccc"] {
        harness.ask(params(&name.repeat(5)));
    }
    let outcome = harness.ask(params(&"z".repeat(60)));
    assert_eq!(outcome.text.len(), 60);
}

#[test]
fn cancelled_cells_can_be_used_by_the_next() {
    let mut harness = Harness::new(128, 2);
    let long = harness.submit(params(&"a".repeat(100)));
    harness.step();
    harness.command(Command::Cancel { id: long });
    assert_eq!(harness.ask(params(&"b".repeat(60))).text.len(), 60);
}

#[test]
fn when_the_pool_is_full_the_youngest_waits_and_nobody_is_ended() {
    let mut harness = Harness::new(160, 4);
    let ids: Vec<_> = (0..4)
        .map(|n| harness.submit(params(&format!("{n}{n}{n} [[repeat 16]]"))))
        .collect();
    harness.run();
    for (n, id) in ids.iter().enumerate() {
        let outcome = &harness.outcomes[id];
        assert_eq!(outcome.text, vec![n.to_string().repeat(3); 16].join(" "));
        assert_eq!(outcome.finished().reason, FinishReason::Stop);
    }
}

/// A request of a client of its own; the harness's others all have the same client.
fn request(number: u32, prompt: &str) -> GenerateParams {
    GenerateParams {
        client: format!("origin/name/{number}"),
        ..params(prompt)
    }
}

#[test]
fn a_long_prompt_that_does_not_fit_yet_is_passed_by_short_ones_and_not_for_ever() {
    let mut harness = Harness::new(256, 4);
    let first = harness.submit(request(1, &format!("{} [[repeat 4]]", "a".repeat(30))));
    harness.step();
    let long = harness.submit(request(2, &"b".repeat(200)));
    let short = harness.submit(request(3, "c"));
    while !harness.outcomes[&short].is_over() {
        harness.step();
    }
    assert!(!harness.outcomes[&first].is_over());
    assert_eq!(harness.engine.state.waiting.len(), 1, "the long one waits");
    let mut n_shorts = 0;
    while harness.outcomes[&long].text.is_empty() {
        if harness.engine.state.waiting.len() < 3 {
            n_shorts += 1;
            harness.submit(request(3 + n_shorts, "c [[repeat 20]]"));
        }
        harness.step();
        assert!(n_shorts < 60, "the long one starves");
    }
}

#[test]
fn a_batch_job_does_not_pass_a_chat_that_does_not_fit_yet() {
    let mut harness = Harness::new(256, 4);
    let first = harness.submit(request(1, &format!("{} [[repeat 4]]", "a".repeat(30))));
    harness.step();
    let chat = harness.submit(request(2, &"b".repeat(200)));
    let job = harness.submit(GenerateParams {
        priority: Priority::Batch,
        ..request(3, "c")
    });
    while !harness.outcomes[&first].is_over() {
        harness.step();
        assert!(!harness.outcomes[&job].is_over());
    }
    harness.run();
    assert!(harness.outcomes[&chat].is_over());
    assert_eq!(harness.outcomes[&job].text, "c");
}

#[test]
fn what_does_not_fit_even_alone_is_ended_alone() {
    let mut harness = Harness::new(128, 2);
    harness.engine.executor.backend.shrink(64);
    let outcome = harness.ask(params(&"a".repeat(40)));
    assert_eq!(outcome.finished().reason, FinishReason::Length);
    assert!(!outcome.text.is_empty());
    let outcome = harness.ask(params(&"b".repeat(90)));
    assert_eq!(
        outcome.failure.as_ref().map(|f| f.kind),
        Some(FailureKind::Internal)
    );
    assert_eq!(harness.ask(params("small")).text, "small");
}

#[test]
fn a_batch_job_makes_way_for_a_chat_and_goes_on_where_it_was() {
    let mut harness = Harness::new(512, 1);
    let mut job = params("job [[repeat 40]]");
    job.priority = Priority::Batch;
    let job = harness.submit(job);
    for _ in 0..10 {
        harness.step();
    }
    let chat = harness.submit(params("chat"));
    while !harness.outcomes[&chat].is_over() {
        harness.step();
    }
    assert!(!harness.outcomes[&job].is_over());
    harness.run();
    assert_eq!(harness.outcomes[&job].text, vec!["job"; 40].join(" "));
    assert_eq!(harness.outcomes[&chat].text, "chat");
}

#[test]
fn a_steady_stream_of_chats_does_not_starve_a_batch_job() {
    let mut harness = Harness::new(512, 1);
    let mut job = params("job [[repeat 40]]");
    job.priority = Priority::Batch;
    let job = harness.submit(job);
    for _ in 0..MANY {
        if harness.engine.state.waiting.len() < 2 {
            harness.submit(params("chat"));
        }
        harness.step();
        if harness.outcomes[&job].is_over() {
            return;
        }
    }
    panic!("the job never ended");
}

/// An action on the engine.
#[derive(Debug, Clone)]
enum Act {
    Submit(Wish),
    /// This many inputs.
    Embed(usize),
    Cancel(prop::sample::Index),
    Steps(usize),
}

#[derive(Debug, Clone)]
struct Wish {
    head: usize,
    tail: String,
    repeat: usize,
    n_ctx: u32,
    n_predict: u32,
    shift: bool,
    is_job: bool,
    client: u8,
}

impl Wish {
    fn text(&self) -> String {
        format!("{}{}", "head".repeat(self.head), self.tail)
    }

    fn params(&self) -> GenerateParams {
        let mut request = params(&format!("{}[[repeat {}]]", self.text(), self.repeat));
        request.n_ctx = self.n_ctx;
        request.n_predict = Some(self.n_predict);
        request.shift = self.shift;
        request.client = self.client.to_string();
        if self.is_job {
            request.priority = Priority::Batch;
        }
        request
    }
}

prop_compose! {
    fn wish()(
        head in 0_usize..30,
        tail in "[abc]{1,8}",
        repeat in 1_usize..20,
        n_ctx in prop_oneof![Just(0_u32), 20_u32..120],
        n_predict in 0_u32..120,
        shift: bool,
        is_job: bool,
        client in 0_u8..3,
    ) -> Wish {
        Wish { head, tail, repeat, n_ctx, n_predict, shift, is_job, client }
    }
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => wish().prop_map(Act::Submit),
        1 => (0_usize..6).prop_map(Act::Embed),
        1 => any::<prop::sample::Index>().prop_map(Act::Cancel),
        3 => (1_usize..30).prop_map(Act::Steps),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_request_ends_as_it_should_and_no_cell_is_lost(
        acts in prop::collection::vec(act(), 1..40),
        n_pool in 40_u32..400,
        n_slots in 1_u32..6,
        n_batch in 1_u32..80,
        n_missing in 0_usize..20,
        windowed: bool,
    ) {
        let window = [("drover-fake.attention.sliding_window", 24)];
        let file = model(if windowed { &window[..] } else { &[] });
        let mut load = load_params(file.path(), n_pool, n_slots);
        load.n_batch = n_batch;
        load.n_ubatch = n_batch;
        let mut harness = Harness::load(&load);
        harness.engine.executor.backend.shrink(n_missing);
        let mut wishes = HashMap::new();
        let mut n_embeds = 0;
        for act in acts {
            match act {
                Act::Submit(wish) => {
                    let id = harness.submit(wish.params());
                    wishes.insert(id, wish);
                }
                Act::Embed(n_inputs) => {
                    n_embeds += 1;
                    let params = EmbedParams {
                        inputs: vec![EmbedInput::Text("some text".to_owned()); n_inputs],
                        n_ctx: 32,
                        truncate: true,
                        normalize: true,
                        priority: Priority::Batch,
                        client: "embedder".to_owned(),
                    };
                    harness.command(Command::Embed { id: 1_000_000 + n_embeds, params });
                }
                Act::Cancel(index) if !wishes.is_empty() => {
                    let ids: Vec<_> = wishes.keys().copied().collect();
                    let id = *index.get(&ids);
                    harness.command(Command::Cancel { id });
                    wishes.remove(&id);
                }
                Act::Cancel(_) => {}
                Act::Steps(n) => {
                    for _ in 0..n {
                        if harness.engine.has_work() {
                            harness.step();
                        }
                    }
                }
            }
        }
        harness.run();
        prop_assert_eq!(harness.others.len() as u64, n_embeds);
        for (id, wish) in &wishes {
            let outcome = &harness.outcomes[id];
            prop_assert!(outcome.is_over(), "{wish:?}");
            let whole = vec![wish.text(); wish.repeat].join(" ");
            prop_assert!(whole.starts_with(&outcome.text), "{wish:?} {outcome:?}");
            match (&outcome.failure, &outcome.finished) {
                (Some(failure), _) => {
                    let is_lone = failure.message.contains("even alone") && n_missing > 0;
                    prop_assert!(
                        failure.kind == FailureKind::ContextExceeded || is_lone,
                        "{wish:?} {failure:?}"
                    );
                }
                (None, Some(finished)) if finished.reason == FinishReason::Stop => {
                    prop_assert_eq!(&outcome.text, &whole);
                }
                _ => {}
            }
        }
        for slot in 0..n_slots as usize {
            harness.engine.state.ledger.clear(slot);
        }
        harness.engine.flush();
        prop_assert_eq!(harness.engine.executor.backend.n_used(), 0);
    }
}
