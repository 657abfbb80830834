//! Prepares requests for the engine, on other threads: tokens, images, constraints, samplers.
//!
//! - [`workers`]: the threads · [`state`]: the requests that wait for them
//! - [`job`]: a request in preparation · [`generation`], [`embedding`]: its two main kinds
//! - [`reading`]: text to tokens, in slices · [`limits`]: what is refused at once
//!
//! Work is divided into slices of a few milliseconds, and clients take turns, so that a short question does not
//! wait for another client's very long text. Work that cannot be divided has its own threads: one for images,
//! because there is one projector, and a few for constraints. A cancellation takes effect at once wherever a
//! request is.

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

/// What requests are prepared with, and the limits of the context.
pub(super) struct Terms<P> {
    pub(super) preparer: Arc<P>,
    /// Most rows of a batch of inputs.
    pub(super) n_batch: usize,
    /// The context is made for embeddings and has no logits.
    pub(super) is_embedding: bool,
}

/// The outcome of a preparation.
#[derive(Debug)]
pub(super) enum Outcome<S> {
    Prepared(Prepared<S>),
    /// The answer to a request that the engine need not see.
    Answer(Event),
}

impl<P: Preparer> Terms<P> {
    fn n_ctx_pool(&self) -> u32 {
        self.preparer.info().n_ctx_pool
    }
}
