//! The runner's side: one loaded model, many requests at once (continuous batching).
//!
//! A step has three parts: [`schedule`] plans it, [`execute`] executes the plan on the backend, and the
//! schedule commits the outcome. The schedule is pure; only the executor calls the [`backend`]. [`core`]
//! combines both, and [`runner`] adds the threads and the channel.
//!
//! On other threads, [`prepare`] makes sequences from requests (tokens, images, constraints). [`speculate`]
//! makes drafts, [`host_cache`] keeps prefixes that lost their cells, [`output`] turns tokens into text.
//!
//! *Invariants:* one thread owns the backend and all mutable state. It only decodes and samples; other work
//! on a request runs on other threads. Nothing here knows about HTTP, templates or files, except
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
mod confine;
mod core;
mod detokenizer;
mod draft_model;
mod execute;
mod failure;
mod host_cache;
mod inbox;
mod intake;
mod interrupt;
mod log;
mod logprobs;
mod measure;
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

pub use confine::Surroundings;

/// Serves this machine's devices to other machines; returns only if that is not possible.
///
/// # Errors
/// Why it is not possible.
pub fn serve_devices(endpoint: &str, n_threads: usize) -> Result<(), String> {
    #[cfg(feature = "llama")]
    {
        backend::llama::rpc::serve(endpoint, n_threads)
    }
    #[cfg(not(feature = "llama"))]
    {
        Err("this build has no inference library".to_owned())
    }
}

/// Runs the runner; returns when the daemon shuts it down.
pub fn run(surroundings: Surroundings) -> std::process::ExitCode {
    runner::run(surroundings)
}
