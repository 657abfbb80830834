//! What drafters are asked, and by what terms.

use super::payoff::{self, Candidate, Price};
use crate::engine::schedule::step_times::StepTimes;
use crate::protocol::{RequestId, Token};

/// Drafts what sequences say next.
pub(in crate::engine) trait Drafter {
    /// The drafts for each of these sequences, in their order: none where they do not pay.
    fn draft(&mut self, texts: &[Text<'_>], terms: &Terms<'_>) -> Vec<Vec<Token>>;

    /// Whether the user has asked for these drafts, with this model.
    fn is_asked_for(&self) -> bool;

    /// The text of a slot is not what it was: its sequence has left, or lost a part of it.
    fn forget(&mut self, slot: usize);
}

/// A sequence that could have drafts checked.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Text<'a> {
    pub(in crate::engine) slot: usize,
    pub(in crate::engine) id: RequestId,
    /// Prompt and output; the drafts follow.
    pub(in crate::engine) tokens: &'a [Token],
    /// What its client thinks the output will mostly be.
    pub(in crate::engine) prediction: &'a [Token],
    /// Most drafts that may be made now.
    pub(in crate::engine) n_most: usize,
    /// Tokens that may still come.
    pub(in crate::engine) n_left: usize,
}

/// What a call has room for, and what pays.
pub(in crate::engine) struct Terms<'a> {
    /// Rows without drafts.
    pub(in crate::engine) n_plain: usize,
    pub(in crate::engine) max_rows: usize,
    /// How long calls take; `None` = draft whatever it costs.
    pub(in crate::engine) times: Option<&'a StepTimes>,
    /// Rows of prompts that would fit into the time of a step.
    pub(in crate::engine) n_prefill: usize,
    /// Nothing follows such a token.
    pub(in crate::engine) is_end: &'a dyn Fn(Token) -> bool,
}

impl Terms<'_> {
    /// How many drafts of each candidate are worth it.
    pub(in crate::engine) fn choose(&self, candidates: &[Candidate], price: Price) -> Vec<usize> {
        payoff::choose(candidates, self.n_plain, self.max_rows, self.times, price)
    }
}
