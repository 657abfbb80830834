//! Errors of Anthropic's routes.

use serde::Serialize;
use utoipa::ToSchema;

/// Body of an unsuccessful response, and the last event of a stream that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = anthropic::ErrorBody)]
pub struct ErrorBody {
    /// `error`
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub error: ErrorDetail,
    /// Also in the header `request-id`; `None` in a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = anthropic::ErrorDetail)]
pub struct ErrorDetail {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub message: String,
}
