//! OpenAI's routes (`/v1`).

use axum::Router;

use super::state::App;

/// The routes, for `router.rs` to merge.
pub(super) fn routes() -> Router<App> {
    Router::new()
}
