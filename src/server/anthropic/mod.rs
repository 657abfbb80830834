//! Anthropic's routes (`/v1/messages`).
//!
//! *Invariant:* every error is in Anthropic's envelope, even one that ends a stream, and every response
//! carries `request-id`.

mod batches;
mod messages;

use super::router::{Routes, route};

/// The routes, for `router.rs` to merge.
pub(super) fn routes() -> Routes {
    Routes::new()
        .merge(batches::routes())
        .merge(route("/v1/messages", "POST", messages::messages))
        .merge(route(
            "/v1/messages/count_tokens",
            "POST",
            messages::count_tokens,
        ))
}
