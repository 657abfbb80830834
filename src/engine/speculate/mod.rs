//! Drafting tokens ahead, so that one decode call can check several of them (speculative decoding).
//!
//! Who drafts is a choice ([`Drafter`]): what followed the newest tokens where they occurred before
//! ([`PromptLookup`]), right most of the time where a text is copied, edited or continued in a
//! pattern, and free; or a second, smaller model (`draft_model`). A checked row costs time, though, on
//! a CPU nearly as much as a token of its own. So everything is measured: how often drafts come true
//! ([`record`]), and how long calls of so many rows take; [`payoff`] puts the two together.
//!
//! Pure, but for the draft model. The engine's side is `draft`.

mod drafter;
mod lookup;
mod payoff;
mod predictor;
mod prompt_lookup;
mod record;

pub(super) use drafter::{Drafter, Terms, Text};
pub(super) use payoff::{Candidate, Price};
pub(super) use prompt_lookup::PromptLookup;
pub(super) use record::Record;
