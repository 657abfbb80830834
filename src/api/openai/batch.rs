//! `/v1/batches`

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ExpiresAfter;

/// Body of `POST /v1/batches`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(default)]
pub struct BatchRequest {
    pub input_file_id: Option<String>,
    pub endpoint: Option<String>,
    pub completion_window: Option<String>,
    /// The dialect checks it.
    pub metadata: Value,
    #[schema(default)]
    pub output_expires_after: Option<ExpiresAfter>,
}

/// A batch job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BatchObject {
    pub id: String,
    /// `batch`
    pub object: String,
    pub endpoint: String,
    pub model: Option<String>,
    pub errors: Option<BatchErrors>,
    pub input_file_id: String,
    pub completion_window: String,
    pub status: String,
    pub output_file_id: Option<String>,
    pub error_file_id: Option<String>,
    pub created_at: i64,
    pub in_progress_at: Option<i64>,
    pub expires_at: Option<i64>,
    pub finalizing_at: Option<i64>,
    pub completed_at: Option<i64>,
    pub failed_at: Option<i64>,
    pub expired_at: Option<i64>,
    pub cancelling_at: Option<i64>,
    pub cancelled_at: Option<i64>,
    pub request_counts: RequestCounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<BatchUsage>,
    pub metadata: Option<Map<String, Value>>,
    /// drover's own: why jobs are paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

/// Numbers of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RequestCounts {
    pub total: u64,
    pub completed: u64,
    pub failed: u64,
}

/// The faults of an input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BatchErrors {
    /// `list`
    pub object: String,
    pub data: Vec<BatchError>,
}

/// One fault of an input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BatchError {
    pub code: Option<String>,
    pub message: Option<String>,
    pub param: Option<String>,
    pub line: Option<u64>,
}

/// Tokens of all answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BatchUsage {
    pub input_tokens: u64,
    pub input_tokens_details: BatchInputDetails,
    pub output_tokens: u64,
    pub output_tokens_details: BatchOutputDetails,
    pub total_tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BatchInputDetails {
    pub cached_tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BatchOutputDetails {
    pub reasoning_tokens: u64,
}
