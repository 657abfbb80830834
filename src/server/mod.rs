//! The HTTP surface: routes, middleware, the life of the daemon.
//!
//! Handlers decode, call and spell; decisions are made below. *Invariant:* `error.rs` is the only
//! place that turns an error into a status.

mod error;
mod extract;
mod openai;
mod router;
mod state;
mod stream;
