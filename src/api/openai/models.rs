//! `/v1/models` and `/v1/models/:model`.

use serde::Serialize;
use utoipa::ToSchema;

/// Answer of `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::ModelList)]
pub struct ModelList {
    /// `list`
    pub object: &'static str,
    pub data: Vec<Model>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::Model)]
pub struct Model {
    pub id: String,
    /// `model`
    pub object: &'static str,
    /// Unix seconds of the last change.
    pub created: i64,
    /// The namespace of the name.
    pub owned_by: String,
}
