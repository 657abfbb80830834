//! Authentication and authorization by API keys.
//!
//! [`identify`] finds out who a request is from. [`guard`] lets it through to its route or refuses it in the protocol's
//! shape, and holds it to its key's limits. *Invariants:* a route that [`need`] does not know needs `admin`; a request
//! that was not identified is refused; where no keys are defined, only routes that manage keys (and similar ones) check
//! where a request comes from.

mod guard;
mod identify;
mod need;
mod queue;
mod revocable;
mod watch;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Version};

use crate::inference::no_access;
use crate::keys::{Invalid, Key, Owner, Scope, Scopes, Seen};
use crate::model::ModelName;
use crate::server::audit::Act;
use crate::server::error::ApiError;

pub(super) use guard::guard;
pub(super) use identify::identify;
pub(super) use need::Need;
pub(super) use queue::{Deadline, Patience};
pub(super) use watch::watch;

/// Who a request is from, and the record of what it changes.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(super) who: Who,
    act: Act,
}

/// Who a request is from.
#[derive(Debug, Clone)]
pub(in crate::server) enum Who {
    /// No keys are defined. True = from a program on this machine.
    Open(bool),
    /// From a program on this machine, which needs no key.
    Local,
    /// Without a key, where keys are defined; everybody has these scopes.
    Nobody(Scopes),
    Key(Arc<Key>),
    /// With an invalid key.
    Invalid(Invalid),
    /// From the daemon itself: a request of a batch job, on behalf of the job's owner.
    Inside(Owner),
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

/// Whether nothing shows a proxy. (Those that add no header use HTTP/1.0.)
fn is_direct(version: Version, headers: &HeaderMap) -> bool {
    version >= Version::HTTP_11 && FORWARDED.iter().all(|name| !headers.contains_key(*name))
}

impl Who {
    /// The name for the audit log.
    fn name(&self) -> &str {
        match self {
            Self::Open(_) => "-",
            Self::Local => "local",
            Self::Nobody(_) | Self::Invalid(_) => "nobody",
            Self::Key(key) => &key.record.name,
            Self::Inside(_) => "drover",
        }
    }
}

impl Access {
    fn new(who: Who) -> Self {
        Self {
            who,
            act: Act::default(),
        }
    }

    /// The daemon's own access, for a batch job of this owner.
    pub(crate) fn inside(owner: Owner) -> Self {
        Self::new(Who::Inside(owner))
    }

    /// The key.
    pub(crate) fn key(&self) -> Option<&Arc<Key>> {
        match &self.who {
            Who::Key(key) => Some(key),
            _ => None,
        }
    }

    /// Whether the client may see other clients and read the log: an administrator, or a program on this machine
    /// that needs no key.
    pub(crate) fn sees_all(&self) -> bool {
        match &self.who {
            Who::Open(is_local) => *is_local,
            Who::Local => true,
            Who::Key(key) => key.record.scopes.have(Scope::Admin),
            Who::Nobody(_) | Who::Invalid(_) | Who::Inside(_) => false,
        }
    }

    /// The owner of what the client stores.
    pub(crate) fn owner(&self) -> Owner {
        match &self.who {
            Who::Inside(owner) => owner.clone(),
            _ => Owner::of(self.key().map(|key| &**key)),
        }
    }

    /// Whose files, batch jobs, responses, conversations and chats the client sees.
    pub(crate) fn seen(&self) -> Seen {
        if self.sees_all() {
            Seen::All
        } else {
            Seen::Of(self.owner())
        }
    }

    /// Whether the client's key, if any, may use a model.
    pub(crate) fn sees(&self, name: &ModelName) -> bool {
        self.key().is_none_or(|key| key.allows_model(&name.short()))
    }

    /// The same check, as an error; records the model in the audit log's act.
    ///
    /// # Errors
    /// The key may not use the model.
    pub(crate) fn check(&self, name: &ModelName) -> Result<(), ApiError> {
        self.act.about(&name.short());
        if self.sees(name) {
            return Ok(());
        }
        Err(no_access(&name.short()))
    }

    /// The act that the audit log records for this request.
    pub(crate) fn act(&self) -> &Act {
        &self.act
    }
}

impl<S: Sync> FromRequestParts<S> for Access {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let access = parts.extensions.get().cloned();
        Ok(access.unwrap_or_else(|| Self::new(Who::Nobody(Scopes::default()))))
    }
}
