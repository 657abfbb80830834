//! Routes for administrators, in Ollama's shapes.

mod keys;

use super::router::{Routes, route, route_by_method};

/// The routes, for `router.rs` to merge.
pub(super) fn routes() -> Routes {
    Routes::new()
        .merge(route_by_method(
            "/api/keys",
            "GET, POST",
            axum::routing::get(keys::list).post(keys::create),
        ))
        .merge(route("/api/keys/{name}", "DELETE", keys::revoke))
}
