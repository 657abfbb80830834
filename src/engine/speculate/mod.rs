//! Guessing tokens ahead, so that one decode call can check several of them (speculative decoding).
//!
//! The guess is what followed the newest tokens where they occurred before (prompt look-up): right
//! most of the time where a text is copied, edited or continued in a pattern, and free. A checked
//! row costs time, though, on a CPU nearly as much as a token of its own. So everything is measured:
//! how often guesses come true ([`predictor`]; also those that are never put into a batch), and how
//! long calls of so many rows take; [`payoff`] puts the two together.
//!
//! Pure. The engine's side is `draft`.

mod lookup;
mod payoff;
mod predictor;

pub(super) use payoff::{Candidate, StepTimes, choose};
pub(super) use predictor::Predictor;
