//! The schedule: decides what the engine does next, without computing anything.
//!
//! Pure: nothing here uses a backend, reads a clock or sends anything. In reading order:
//!
//! - [`state`]: who waits, who runs, what is cached · [`sequence`]: one generation
//! - [`plan`]: the state becomes a [`plan::StepPlan`] · [`commit`]: what came of it changes the state
//! - [`crate::fair_queue`], [`admit`]: who gets in · [`pressure`]: who makes room
//! - [`batch`], [`decode_width`], [`yielding`], [`step_times`]: how many rows go into a call
//! - [`ledger`], [`prefix`], [`park`], [`offers`]: what is in the KV cache, and who begins with it
//! - [`embedding`]: inputs whose vectors are wanted

mod admit;
pub(super) mod batch;
pub(super) mod commit;
mod decode_width;
pub(super) mod embedding;
pub(super) mod ledger;
pub(super) mod offers;
mod park;
pub(super) mod plan;
pub(super) mod prefix;
mod pressure;
pub(super) mod sequence;
pub(super) mod state;
pub(super) mod step_times;
#[cfg(test)]
mod tests;
mod yielding;
