//! Prefix reuse: what is evaluated again, and what is not.

use super::*;
use crate::protocol::FinishReason;

#[test]
fn the_next_turn_starts_behind_the_last_answer() {
    let mut harness = Harness::new(512, 2);
    let mut first = params("<|im_start|>user\nhello<|im_end|>");
    assert_eq!(harness.ask(first.clone()).text, "hello");
    let PromptPart::Text(text) = &mut first.prompt[0] else {
        unreachable!()
    };
    text.push_str("hello<|eos|><|im_start|>user\nagain<|im_end|>");
    let outcome = harness.ask(first);
    assert_eq!(outcome.text, "again");
    let finished = outcome.finished();
    // BOS, the turn of 12 tokens and the answer; the end token was never evaluated.
    assert_eq!(finished.n_cached, 1 + 12 + 5);
    assert_eq!(finished.n_prompt, finished.n_cached + 1 + 12);
}

#[test]
fn a_repeated_prompt_evaluates_one_token() {
    let mut harness = Harness::new(512, 2);
    harness.ask(params("the same prompt again"));
    let before = harness.n_prefilled();
    let finished = harness
        .ask(params("the same prompt again"))
        .finished()
        .clone();
    assert_eq!((finished.n_prompt, finished.n_cached), (22, 21));
    assert_eq!(harness.n_prefilled() - before, 1);
}

#[test]
fn a_head_is_shared_with_a_running_sequence() {
    let mut harness = Harness::new(512, 2);
    let head = "a system prompt of some length. ";
    let first = harness.submit(params(&format!("{head}one [[repeat 3]]")));
    for _ in 0..4 {
        harness.step();
    }
    let used = harness.engine.executor.backend.n_used();
    let second = harness.submit(params(&format!("{head}two")));
    harness.step();
    assert!(harness.engine.executor.backend.n_used() < used + 10);
    harness.run();
    assert_eq!(harness.outcomes[&second].text, format!("{head}two"));
    assert_eq!(harness.outcomes[&second].finished().n_cached, 33);
    assert_eq!(
        harness.outcomes[&first].text.len(),
        3 * (head.len() + 4) - 1 + 1 - 1
    );
}

#[test]
fn a_head_that_many_send_at_once_is_evaluated_once() {
    for mut harness in [Harness::new(16_384, 8), windowed(8)] {
        let head = "head ".repeat(100);
        for n in 0..8 {
            harness.submit(params(&format!("{head}[[say {n}]]")));
        }
        harness.run();
        for id in 1..=8 {
            assert_eq!(harness.outcomes[&id].text, (id - 1).to_string());
        }
        let n_prefilled = harness.n_prefilled();
        assert!(n_prefilled < 501 + 8 * 12, "{n_prefilled}");
    }
}

#[test]
fn followers_go_on_when_their_leader_is_cancelled() {
    let mut harness = Harness::new(16_384, 4);
    let head = "head ".repeat(100);
    let leader = harness.submit(params(&format!("{head}[[say 0]]")));
    let follower = harness.submit(params(&format!("{head}[[say 1]]")));
    harness.step();
    harness.step();
    harness.command(Command::Cancel { id: leader });
    harness.run();
    assert_eq!(harness.outcomes[&follower].text, "1");
}

#[test]
fn sequences_that_share_cells_can_both_shift() {
    let mut harness = Harness::new(1024, 3);
    let head = "0123456789".repeat(8);
    let request = |tail: &str| {
        let mut request = params(&format!("{head}{tail} [[repeat 9]]"));
        request.n_ctx = 100;
        request.n_predict = Some(300);
        request.shift = true;
        request
    };
    let ids: Vec<_> = ["a", "b", "c"]
        .map(|tail| harness.submit(request(tail)))
        .into();
    harness.run();
    for (id, tail) in ids.iter().zip(["a", "b", "c"]) {
        let whole = vec![format!("{head}{tail}"); 9].join(" ");
        let outcome = &harness.outcomes[id];
        assert_eq!(outcome.text, whole[..300], "{:?}", outcome.failure);
    }
}

#[test]
fn a_windowed_memory_is_not_cut_back_nor_shifted() {
    let keys = [("drover-fake.attention.sliding_window", 16)];
    let mut harness = Harness::with_keys(512, 1, &keys);
    let long = "a sentence that is longer than the window";
    harness.ask(params(long));
    let finished = harness
        .ask(params(&format!("{long} and differs")))
        .finished();
    assert_eq!(finished.n_cached, 0, "the answer had moved the window on");
    let mut request = params("abc [[repeat 100]]");
    request.n_ctx = 64;
    request.shift = true;
    assert_eq!(harness.ask(request).finished().reason, FinishReason::Length);
}

/// A model whose window is much shorter than its prompts.
fn windowed(n_slots: u32) -> Harness {
    let keys = [("drover-fake.attention.sliding_window", 16)];
    Harness::with_keys(8192, n_slots, &keys)
}

#[test]
fn a_conversation_that_is_spelled_anew_goes_on_from_the_parked_prompt() {
    let mut harness = windowed(4);
    let mut history = format!("<|im_start|>user\n{} one<|im_end|>", "word ".repeat(40));
    let mut last = 0;
    for turn in 0..6 {
        let finished = harness.ask(params(&history)).finished().clone();
        // The answer comes back without the spaces around it, as from a template.
        history += &format!("an answer<|im_end|>\n<|im_start|>user\nquestion {turn}<|im_end|>");
        if turn > 0 {
            assert!(
                finished.n_prompt - finished.n_cached < finished.n_prompt - last + 20,
                "turn {turn}: {finished:?}"
            );
        }
        last = finished.n_prompt;
    }
}

#[test]
fn a_system_prompt_is_parked_when_a_second_conversation_begins_with_it() {
    let mut harness = windowed(4);
    let system = "a system prompt that everybody has. ".repeat(10);
    let ask = |harness: &mut Harness, question: &str| {
        let prompt = format!("{system}{question} {}", "and so on ".repeat(10));
        harness.ask(params(&prompt)).finished().n_cached as usize
    };
    assert_eq!(ask(&mut harness, "first"), 0);
    assert_eq!(ask(&mut harness, "second"), 0);
    for question in ["third", "fourth", "5th", "6th", "7th"] {
        assert!(ask(&mut harness, question) >= system.len(), "{question}");
    }
}

#[test]
fn parked_copies_give_way_to_conversations() {
    let mut harness = windowed(2);
    let text = |n: usize| format!("{n}{}", " a prompt of its own".repeat(5));
    for n in 0..6 {
        assert_eq!(harness.ask(params(&text(n))).text, text(n));
    }
    let ids: Vec<_> = (0..2).map(|n| harness.submit(params(&text(n)))).collect();
    harness.step();
    assert_eq!(harness.engine.state.busy().len(), 2);
    harness.run();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(harness.outcomes[id].text, text(n));
    }
}
