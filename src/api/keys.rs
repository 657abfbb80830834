//! API keys over drover's own routes (`/api/keys`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::keys::{Class, Limits, Scope, Scopes};

/// Body of `POST /api/keys`: the key that is wanted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyRequest {
    pub name: String,
    /// Empty = inference.
    pub scopes: Vec<Scope>,
    /// Names of models, with `*` for anything; empty = all.
    pub models: Vec<String>,
    pub limits: Limits,
    pub class: Class,
    pub expires: Option<Timestamp>,
}

/// A key, without itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyEntry {
    pub name: String,
    pub scopes: Scopes,
    pub models: Vec<String>,
    pub limits: Limits,
    pub class: Class,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    /// Since the start of the server.
    pub last_used: Option<Timestamp>,
}

/// Answer of `POST /api/keys`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyCreated {
    /// The key itself, which is shown this once.
    pub key: String,
    #[serde(flatten)]
    pub entry: KeyEntry,
}

/// Answer of `GET /api/keys`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyList {
    pub keys: Vec<KeyEntry>,
}
