//! Conversations, lists of items, and answers to deletions.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::chat::null_is_default;

/// Body of `POST /v1/conversations` and of `POST /v1/conversations/{id}`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct ConversationRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub items: Vec<Value>,
    pub metadata: Value,
}

/// Body of `POST /v1/conversations/{id}/items`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct NewItems {
    #[serde(deserialize_with = "null_is_default")]
    pub items: Vec<Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Conversation {
    pub id: String,
    /// `conversation`
    pub object: &'static str,
    /// Unix seconds.
    pub created_at: i64,
    pub metadata: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConversationDeleted {
    pub id: String,
    /// `conversation.deleted`
    pub object: &'static str,
    pub deleted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResponseDeleted {
    pub id: String,
    /// `response`
    pub object: &'static str,
    pub deleted: bool,
}

/// A page of items. Its ids are empty if there are no items: typed clients require strings.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ItemList {
    /// `list`
    pub object: &'static str,
    pub data: Vec<Value>,
    pub first_id: String,
    pub last_id: String,
    pub has_more: bool,
}
