//! Prepares requests for the engine, on other threads: tokens, images, constraints, samplers.
//!
//! - [`workers`]: the threads · [`state`]: who waits for them
//! - [`job`]: a request on its way · [`generation`], [`embedding`]: what the two kinds need
//! - [`reading`]: text to tokens, in slices · [`limits`]: what is refused at once
//!
//! Work is divided into slices of a few milliseconds, and clients take turns, so that a short question does
//! not wait for another client's book. Work that cannot be divided has its own threads: one for images,
//! because there is one projector, and a few for constraints. A cancellation takes effect at once wherever
//! a request is.

mod embedding;
mod generation;
mod job;
mod limits;
mod reading;
mod state;
#[cfg(test)]
mod tests;
mod workers;

use std::sync::Arc;

#[cfg(test)]
pub(super) use job::now;
pub(super) use workers::PromptWorkers;

use super::backend::Preparer;
use super::schedule::state::Prepared;
use crate::protocol::Event;

/// What a request is prepared with and for.
pub(super) struct Terms<P> {
    pub(super) preparer: Arc<P>,
    /// Rows of a batch of inputs, at most.
    pub(super) n_batch: usize,
    /// The context is made for embeddings and has no logits.
    pub(super) is_embedding: bool,
}

/// The outcome of a preparation.
#[derive(Debug)]
pub(super) enum Outcome<S> {
    Prepared(Prepared<S>),
    /// There is nothing to do for the engine.
    Answer(Event),
}

impl<P: Preparer> Terms<P> {
    fn n_ctx_pool(&self) -> u32 {
        self.preparer.info().n_ctx_pool
    }
}
