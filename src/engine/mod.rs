//! The runner's side: one loaded model, many requests at once (continuous batching).
//!
//! In reading order: [`child`] has the threads and the channel, [`prepare`] makes sequences of
//! requests, [`core`] has the state, [`step`] the loop's one turn (admit → plan → decode → sample → emit), [`admit`] and
//! [`pressure`] who gets in and who must wait when memory is short. The decisions are pure:
//! [`admission`], [`batcher`], [`prefix_cache`], [`speculate`].
//! [`spill`] keeps what lost its cells. Images are evaluated between the steps ([`see`]).
//!
//! *Invariants:* one thread owns the backend and everything that changes. It only decodes and samples:
//! what else a request takes is done beside it. Nothing here knows of
//! HTTP, templates or files but for `backend`.

#![cfg_attr(
    not(any(test, feature = "llama", feature = "fake")),
    expect(
        dead_code,
        unused_variables,
        reason = "a build without an inference library can only say so"
    )
)]

mod admission;
mod admit;
pub(crate) mod backend;
mod batcher;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod child;
mod core;
mod detokenizer;
mod door;
mod draft;
mod draft_model;
mod embed;
mod inbox;
mod log;
mod logprobs;
mod media;
mod outbox;
mod output;
mod park;
mod prefix_cache;
mod prepare;
mod pressure;
mod prompt;
mod see;
mod sequence;
mod slot;
mod speculate;
mod spill;
mod step;
mod step_times;
mod stop;
#[cfg(test)]
mod tests;
mod turns;

/// Entry of the runner role; returns when the daemon asks for it.
pub fn run() -> std::process::ExitCode {
    child::run()
}

/// A count as the protocol has it; more than that does not fit into memory.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
