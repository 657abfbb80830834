//! Drafting tokens ahead, so that one decode call can verify several of them (speculative decoding).
//!
//! There are two drafters ([`Drafter`]): [`PromptLookup`] drafts what followed the newest tokens at an earlier
//! occurrence, which is free, and mostly right where a text is copied, edited or continued in a pattern;
//! `draft_model` drafts with a second, smaller model. But verifying a row costs time, on a CPU nearly as much
//! as generating a token. So both are measured: how often drafts are accepted ([`record`]), and how long calls
//! of different sizes take; [`payoff`] combines the two.
//!
//! Pure, except for the draft model.

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
