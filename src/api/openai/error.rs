//! The envelope of every error on the OpenAI routes, and of an error in the middle of a stream.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

/// `{"error":{…}}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::ErrorBody)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// All four keys are always present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::ErrorDetail)]
pub struct ErrorDetail {
    pub message: String,
    /// `invalid_request_error`, `not_found_error` or `api_error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[schema(required)]
    pub param: Option<Cow<'static, str>>,
    #[schema(required)]
    pub code: Option<&'static str>,
}
