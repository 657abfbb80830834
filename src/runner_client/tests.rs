//! Tests that need no process: the log and the events of a generation. `tests/runner.rs` tests the rest
//! with real processes.

use futures_util::FutureExt as _;

use super::log::{LastLines, follow};
use super::*;
use crate::protocol::{FinishReason, Finished, Update};

async fn cause_of(output: &[u8]) -> String {
    let lines = LastLines::default();
    follow(output, lines.clone()).await;
    lines.cause()
}

#[tokio::test]
async fn an_error_of_a_driver_is_the_cause_and_has_advice() {
    // As llama.cpp's CUDA backend writes it.
    let lines = [
        "E ggml_cuda_compute_forward: MUL_MAT failed",
        "E CUDA error: no kernel image is available for execution on the device",
        "E   current device: 0, in function ggml_cuda_compute_forward at ggml-cuda.cu:2441",
        "E   err",
        "/src/ggml-cuda.cu:98: CUDA error",
    ];
    let cause = cause_of(lines.join("\n").as_bytes()).await;
    assert!(cause.starts_with("CUDA error: no kernel image"), "{cause}");
    assert!(
        cause.contains("this build has no code for this card"),
        "{cause}"
    );
}

#[tokio::test]
async fn the_telling_line_is_the_cause() {
    let check = async |output: &str, cause: &str| {
        assert_eq!(cause_of(output.as_bytes()).await, cause, "{output:?}");
    };
    check("", "").await;
    // A warning or a line about buffers is not an error.
    check("I one\nW sched_reserve: error of nothing\nD two\n\n", "").await;
    check("E failed to load\nI bye\n", "failed to load").await;
    check(
        "/home/me/build/ggml.c:1: GGML_ASSERT(x) failed\nat frame 1\nat frame 2",
        "GGML_ASSERT(x) failed",
    )
    .await;
    check(
        "/src/ggml-backend.cpp:1081: pre-allocated tensor (cache_k_l5) in a buffer (Vulkan0) that cannot run the operation (NONE)\nat frame 1\n",
        "pre-allocated tensor (cache_k_l5) in a buffer (Vulkan0) that cannot run the operation (NONE)",
    )
    .await;
    check(
        "terminate called after throwing\n  what(): x",
        "terminate called after throwing",
    )
    .await;
}

/// Log lines may contain incomplete characters, and some lines never end.
#[tokio::test]
async fn output_is_read_whatever_it_is() {
    let mut output = b"I \xff\xfe broken\n".to_vec();
    output.extend(vec![b'x'; 100_000]);
    output.extend(b"\nE the last error\r\n");
    assert_eq!(cause_of(&output).await, "the last error");
}

fn update(text: &str, finished: bool) -> Update {
    Update {
        id: 1,
        text: text.to_owned(),
        n_tokens: 1,
        prompt: Vec::new(),
        logprobs: Vec::new(),
        finished: finished.then_some(Finished {
            reason: FinishReason::Stop,
            n_prompt: 3,
            n_cached: 0,
            n_generated: 2,
            n_drafted: 0,
            n_accepted: 0,
            queue_ms: 0.0,
            prompt_ms: 0.0,
            generate_ms: 0.0,
        }),
    }
}

/// A generation and the process task's side of it.
fn generation() -> (Generation, Arc<Mailbox>, Cancels) {
    let mailbox = Arc::new(Mailbox::default());
    let cancels = Cancels::default();
    let generation = Generation::new(1, Arc::clone(&mailbox), cancels.clone());
    (generation, mailbox, cancels)
}

#[tokio::test]
async fn a_slow_reader_gets_larger_pieces_in_order() {
    let (mut generation, mailbox, cancels) = generation();
    mailbox.start(3, false);
    for text in ["a", "", "b"] {
        assert!(mailbox.update(update(text, false)));
    }
    mailbox.update(update("c", true));
    let mut events = Vec::new();
    while let Some(event) = generation.next().await {
        events.push(event.unwrap());
    }
    let text = |text: &str| GenerationEvent::Text {
        parts: [1, 0, 1, 1]
            .map(|n_bytes| Part {
                n_tokens: 1,
                n_bytes,
            })
            .to_vec(),
        text: text.to_owned(),
        n_tokens: 4,
        prompt: Vec::new(),
        logprobs: Vec::new(),
    };
    assert_eq!(events.len(), 3);
    let accepted = GenerationEvent::Started {
        n_prompt: 3,
        is_cut: false,
    };
    assert_eq!(events[0], accepted);
    assert_eq!(events[1], text("abc"));
    assert!(matches!(events[2], GenerationEvent::Finished(_)));
    drop(generation);
    let cancelled = cancels.read().now_or_never();
    assert_eq!(cancelled, None, "nothing to cancel after the end");
}

#[tokio::test]
async fn text_before_a_failure_is_not_lost() {
    let (mut generation, mailbox, _cancels) = generation();
    mailbox.update(update("so far", false));
    mailbox.fail(RunnerError::Gone(": killed".to_owned()));
    assert!(matches!(
        generation.next().await,
        Some(Ok(GenerationEvent::Text { text, .. })) if text == "so far"
    ));
    let error = generation.next().await.unwrap().unwrap_err();
    assert!(
        error.to_string().ends_with("for details: killed"),
        "{error}"
    );
    assert!(generation.next().await.is_none());
}

#[tokio::test]
async fn dropping_a_generation_cancels_it() {
    let (generation, mailbox, cancels) = generation();
    assert!(!mailbox.is_abandoned());
    drop(generation);
    assert_eq!(cancels.read().now_or_never(), Some(vec![1]));
    assert!(mailbox.is_abandoned());
    assert!(!mailbox.update(update("x", false)), "nobody reads any more");
}
