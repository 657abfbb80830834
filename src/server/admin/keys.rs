//! `GET /api/keys`, `POST /api/keys`, `DELETE /api/keys/{name}`.

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use jiff::Timestamp;

use crate::api::keys::{KeyCreated, KeyEntry, KeyList, KeyRequest};
use crate::error::ErrorKind;
use crate::keys::KeysError;
use crate::server::access::Access;
use crate::server::error::{ApiError, OllamaError};
use crate::server::extract::OllamaJson;
use crate::server::query::parameter;
use crate::server::state::App;
use crate::server::stream::json;

/// The parameter that allows revoking the last key.
const LAST: &str = "last";

impl From<KeysError> for ApiError {
    fn from(error: KeysError) -> Self {
        let kind = match &error {
            KeysError::Invalid(_) => ErrorKind::Invalid,
            KeysError::Missing(_) => ErrorKind::NotFound,
            KeysError::Exists(_) | KeysError::Last(_) => ErrorKind::Conflict,
            KeysError::Io { .. } | KeysError::NoFile(_) => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

pub(super) async fn list(State(app): State<App>) -> Response {
    let keys = app.keys.list();
    json(&KeyList {
        keys: keys.iter().map(|key| KeyEntry::from(&**key)).collect(),
    })
}

pub(super) async fn create(
    State(app): State<App>,
    access: Access,
    OllamaJson(request): OllamaJson<KeyRequest>,
) -> Result<Response, OllamaError> {
    access.act().about(&request.name);
    let keys = app.keys.clone();
    let created = app.block(move || keys.create(request.into(), Timestamp::now()));
    let (secret, key) = created.await??;
    let mut response = json(&KeyCreated {
        key: secret.reveal().to_owned(),
        entry: KeyEntry::from(&*key),
    });
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

pub(super) async fn revoke(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<StatusCode, OllamaError> {
    access.act().about(&name);
    let may_be_last = parameter(&uri, LAST).is_some_and(|value| value == "true");
    let keys = app.keys.clone();
    let revoked = app.block(move || keys.revoke(&name, may_be_last));
    revoked.await??;
    Ok(StatusCode::OK)
}
