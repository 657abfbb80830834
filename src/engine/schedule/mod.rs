//! The schedule: decides what the engine does next, without computing anything.
//!
//! Pure: nothing here uses a backend, reads a clock or sends anything. In reading order:
//!
//! - [`state`]: waiting and running sequences, cached prefixes · [`sequence`]: one generation
//! - [`plan`]: makes a [`plan::StepPlan`] from the state · [`commit`]: applies the outcome to the state
//! - [`crate::fair_queue`], [`admit`]: which sequences get a slot · [`pressure`]: which make room
//! - [`batch`], [`decode_width`], [`yielding`], [`step_times`]: how many rows a call has
//! - [`ledger`], [`prefix`], [`park`], [`offers`]: what the KV cache holds, and which prompts reuse it
//! - [`embedding`]: embedding inputs

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
