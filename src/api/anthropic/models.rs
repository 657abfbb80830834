//! `GET /v1/models` for a client that sends `anthropic-version`.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// A page of models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = anthropic::ModelList)]
pub struct ModelList {
    pub data: Vec<Model>,
    pub has_more: bool,
    #[schema(required)]
    pub first_id: Option<String>,
    #[schema(required)]
    pub last_id: Option<String>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = anthropic::Model)]
pub struct Model {
    /// `model`
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub id: String,
    pub display_name: String,
    /// When the model last changed (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// `active`
    pub lifecycle: &'static str,
}
