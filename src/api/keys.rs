//! API keys over drover's own routes (`/api/keys`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::keys::{Class, Key, Limits, Scope, Scopes, Wish};

/// Body of `POST /api/keys`: the key to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyRequest {
    pub name: String,
    /// Empty = inference.
    pub scopes: Vec<Scope>,
    /// Names of models, with `*` for anything; empty = all.
    pub models: Vec<String>,
    pub limits: Limits,
    pub class: Class,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Timestamp>,
}

impl From<KeyRequest> for Wish {
    fn from(request: KeyRequest) -> Self {
        Self {
            name: request.name,
            scopes: request.scopes.into_iter().collect(),
            models: request.models,
            limits: request.limits,
            class: request.class,
            expires: request.expires,
        }
    }
}

/// A key, without its text.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyEntry {
    pub name: String,
    pub scopes: Scopes,
    pub models: Vec<String>,
    pub limits: Limits,
    pub class: Class,
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub expires: Option<Timestamp>,
    /// When the key was last used; only uses since the start of the server are known.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub last_used: Option<Timestamp>,
}

impl From<&Key> for KeyEntry {
    fn from(key: &Key) -> Self {
        let record = &key.record;
        Self {
            name: record.name.clone(),
            scopes: record.scopes.clone(),
            models: record.models.clone(),
            limits: record.limits,
            class: record.class,
            created: record.created,
            expires: record.expires,
            last_used: key.last_used(),
        }
    }
}

/// Answer of `POST /api/keys`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyCreated {
    /// The text of the key, which is shown only this once.
    pub key: String,
    #[serde(flatten)]
    pub entry: KeyEntry,
}

/// Answer of `GET /api/keys`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    pub keys: Vec<KeyEntry>,
}
