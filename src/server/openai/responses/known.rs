//! The stored part of a request's history.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio_util::sync::CancellationToken;

use crate::dialect::openai::responses::{Known, State};
use crate::error::{ErrorKind, RequestError};
use crate::history::{HistoryError, Reserve};
use crate::keys::{Owner, Seen};
use crate::server::access::Access;
use crate::server::extract::{Held, Share};
use crate::server::origin::Origin;
use crate::server::state::App;

use super::now;

/// How many copies of a history are in memory at once: as text, as JSON, and as turns.
const N_COPIES: usize = 3;

/// How many copies are in memory of what is only shown: as text, and as JSON.
const N_SHOWN: usize = 2;

/// Where a request comes from, what it may see, and what holds its memory.
#[derive(Debug, Clone)]
pub(in crate::server::openai) struct Asker {
    pub(super) origin: Origin,
    pub(super) held: Held,
    /// The owner of what the request stores.
    pub(super) owner: Owner,
    /// Whose responses, conversations and chats exist for the request.
    pub(in crate::server::openai) seen: Seen,
    /// Cancelled when the request's key is revoked; `None` = it has no key.
    pub(super) revoked: Option<CancellationToken>,
}

impl Asker {
    /// The memory for what a request only shows.
    pub(in crate::server::openai) fn room(&self, app: &App) -> Reserve {
        self.room_for(app, N_SHOWN)
    }

    fn room_for(&self, app: &App, n_copies: usize) -> Reserve {
        let mut meter = Meter {
            share: Some(app.memory.share(self.origin)),
            held: self.held.clone(),
            n_bytes: 0,
        };
        Box::new(move |n_bytes| {
            meter.n_bytes = meter.n_bytes.saturating_add(n_copies * n_bytes);
            let n_bytes = meter.n_bytes;
            let share = meter.share.as_mut();
            share.is_some_and(|share| share.try_grow(n_bytes).is_ok())
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let access = Access::from_request_parts(parts, state).await?;
        Ok(Self {
            owner: access.owner(),
            seen: access.seen(),
            revoked: access.key().map(|key| key.revoked.clone()),
            origin: Origin::of_request(&parts.extensions),
            held: Held::of(&parts.extensions),
        })
    }
}

/// Counts the memory of what is read, and holds it until the answer has ended.
struct Meter {
    share: Option<Share>,
    held: Held,
    n_bytes: usize,
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(share) = self.share.take() {
            self.held.keep(share);
        }
    }
}

/// Reads the history of a request.
///
/// # Errors
/// Something that the request refers to does not exist.
pub(super) async fn known(app: &App, state: &State, asker: &Asker) -> Result<Known, RequestError> {
    let history = &app.responses.history;
    let room = || asker.room_for(app, N_COPIES);
    let mut known = Known::default();
    if let Some(id) = &state.previous {
        let past = history.past(id, &asker.seen, now(), room()).await;
        known.past = past.map_err(of_previous)?;
    }
    if let Some(id) = &state.conversation {
        let said = history.said(id, &asker.seen, room()).await;
        known.past =
            said.map_err(|error| about(error, "conversation", "conversation_not_found"))?;
    }
    for id in &state.references {
        let item = history.item(id, &asker.seen, room()).await;
        let item = item.map_err(|error| about(error, "input", "item_not_found"))?;
        known.referenced.push((id.clone(), item));
    }
    Ok(known)
}

/// OpenAI answers 400 here: it is a field of the request that is wrong.
fn of_previous(error: HistoryError) -> RequestError {
    const PARAM: &str = "previous_response_id";
    match error {
        HistoryError::NoResponse(id) => {
            let message = format!("Previous response with id '{id}' not found.");
            RequestError::invalid(message).about(PARAM, "previous_response_not_found")
        }
        error => about(error, PARAM, "previous_response_not_usable"),
    }
}

fn about(error: HistoryError, param: &'static str, code: &'static str) -> RequestError {
    let error = RequestError::from(error);
    match error.kind {
        ErrorKind::NotFound | ErrorKind::Invalid => error.about(param, code),
        _ => error,
    }
}
