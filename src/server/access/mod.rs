//! Who may do what: API keys at the door.
//!
//! [`identify`] finds out who a request is from; [`guard`] lets it through to its line of the route table, or
//! refuses it in the protocol's shape, and holds it to its key's limits. *Invariants:* a line that
//! [`need`] does not know needs `admin`; a request that was not identified is refused; without keys only lines
//! that manage them (and their like) ask where a request comes from.

mod guard;
mod identify;
mod need;
mod revocable;
mod watch;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Version};

use crate::inference::no_access;
use crate::keys::{Invalid, Key, Scopes};
use crate::model::ModelName;
use crate::server::error::ApiError;

pub(super) use guard::guard;
pub(super) use identify::identify;
pub(super) use need::Need;
pub(super) use watch::watch;

/// Who a request is from.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// No keys are defined. True = from a program on this machine.
    Open(bool),
    /// From a program on this machine, which needs no key.
    Local,
    /// Without a key, where one is needed; these scopes everybody has.
    Nobody(Scopes),
    Key(Arc<Key>),
    /// With a key that is not valid.
    Invalid(Invalid),
    /// From the daemon itself: a line of a batch job.
    Inside,
}

/// Headers that proxies add. A request through a proxy on this machine comes from anywhere.
const FORWARDED: [&str; 7] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "cf-connecting-ip",
];

/// Whether no proxy shows. Those that add no header use HTTP/1.0.
fn is_direct(version: Version, headers: &HeaderMap) -> bool {
    version >= Version::HTTP_11 && FORWARDED.iter().all(|name| !headers.contains_key(*name))
}

impl Access {
    /// The key.
    pub(crate) fn key(&self) -> Option<&Arc<Key>> {
        match self {
            Self::Key(key) => Some(key),
            _ => None,
        }
    }

    /// Whether its key, if it has one, may use a model.
    pub(crate) fn sees(&self, name: &ModelName) -> bool {
        self.key().is_none_or(|key| key.allows_model(&name.short()))
    }

    /// The same, as an error.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check(&self, name: &ModelName) -> Result<(), ApiError> {
        if self.sees(name) {
            return Ok(());
        }
        Err(no_access(&name.short()))
    }
}

impl<S: Sync> FromRequestParts<S> for Access {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let access = parts.extensions.get().cloned();
        Ok(access.unwrap_or(Self::Nobody(Scopes::default())))
    }
}
