//! The interface of drafters, and the terms of a request for drafts.

use super::payoff::{self, Candidate, Price};
use crate::engine::schedule::step_times::StepTimes;
use crate::protocol::{RequestId, Token};

/// Drafts the next tokens of sequences.
pub(in crate::engine) trait Drafter {
    /// The drafts for each of these sequences, in order: empty where drafts do not pay off.
    fn draft(&mut self, texts: &[Text<'_>], terms: &Terms<'_>) -> Vec<Vec<Token>>;

    /// Whether the user has asked for these drafts, with this model.
    fn is_asked_for(&self) -> bool;

    /// The text of a slot has changed: its sequence has left, or lost a part of the text.
    fn forget(&mut self, slot: usize);
}

/// A sequence whose drafts could be verified.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Text<'a> {
    pub(in crate::engine) slot: usize,
    pub(in crate::engine) id: RequestId,
    /// Prompt and output; the drafts follow.
    pub(in crate::engine) tokens: &'a [Token],
    /// The client's prediction of most of the output.
    pub(in crate::engine) prediction: &'a [Token],
    /// Most drafts that may be made now.
    pub(in crate::engine) n_most: usize,
    /// Tokens that may still come.
    pub(in crate::engine) n_left: usize,
}

/// What a call has room for, and what drafts cost.
pub(in crate::engine) struct Terms<'a> {
    /// Rows without drafts.
    pub(in crate::engine) n_plain: usize,
    pub(in crate::engine) max_rows: usize,
    /// How long calls take; `None` = draft regardless of the cost.
    pub(in crate::engine) times: Option<&'a StepTimes>,
    /// Prefill rows that would fit into the time of a step.
    pub(in crate::engine) n_prefill: usize,
    /// Whether a token ends the generation.
    pub(in crate::engine) is_end: &'a dyn Fn(Token) -> bool,
}

impl Terms<'_> {
    /// How many drafts of each candidate are worth it.
    pub(in crate::engine) fn choose(&self, candidates: &[Candidate], price: Price) -> Vec<usize> {
        payoff::choose(candidates, self.n_plain, self.max_rows, self.times, price)
    }
}
