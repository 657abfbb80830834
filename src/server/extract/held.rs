//! Releases the memory of a request when its answer has ended, not when its handler returns.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use super::memory::Share;
use crate::server::watched::{Watch, Watched};

/// The memory of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Vec<Share>>>);

impl Held {
    /// Returns the memory of the request with these extensions.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// Keeps a share until the end of the answer.
    pub(crate) fn keep(&self, share: Share) {
        if !share.is_empty() {
            self.shares().push(share);
        }
    }

    fn shares(&self) -> MutexGuard<'_, Vec<Share>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropped with the answer's body.
impl Watch for Held {}

impl<S: Sync> FromRequestParts<S> for Held {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// Middleware: keeps the memory of a request until the last byte of its answer is sent.
pub(crate) async fn hold(mut request: Request, next: Next) -> Response {
    let held = Held::default();
    request.extensions_mut().insert(held.clone());
    let response = next.run(request).await;
    if held.shares().is_empty() {
        return response;
    }
    response.map(|body| Body::new(Watched::new(body, held)))
}
