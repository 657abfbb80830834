//! The runner's side: one loaded model, many requests at once (continuous batching).
//!
//! A step is three things: [`schedule`] plans it, [`execute`] has the backend do it, and the schedule
//! takes what came of it. The schedule is pure; the executor is the only part that talks to the
//! [`backend`]. [`core`] is both together, and [`runner`] the threads and the channel around it.
//!
//! Beside the engine's thread, [`prepare`] makes sequences of requests (tokens, images, constraints).
//! [`speculate`] makes drafts, [`host_cache`] keeps prefixes that lost their cells, [`output`] makes
//! text of tokens.
//!
//! *Invariants:* one thread owns the backend and everything that changes. It only decodes and samples:
//! what else a request takes is done beside it. Nothing here knows of HTTP, templates or files but for
//! [`backend`] and [`host_cache`].

#![cfg_attr(
    not(any(test, feature = "llama", feature = "fake")),
    expect(
        dead_code,
        unused_variables,
        reason = "a build without an inference library can only say so"
    )
)]

pub(crate) mod backend;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod cache_ops;
mod core;
mod detokenizer;
mod draft_model;
mod execute;
mod failure;
mod host_cache;
mod inbox;
mod intake;
mod log;
mod logprobs;
mod media;
mod outbox;
mod output;
mod prepare;
mod prompt;
mod row;
mod runner;
mod schedule;
mod speculate;
mod stop;
#[cfg(test)]
mod tests;
mod units;

/// Entry of the runner role; returns when the daemon asks for it.
pub fn run() -> std::process::ExitCode {
    runner::run()
}
