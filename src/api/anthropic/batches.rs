//! `/v1/messages/batches`

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// A batch of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MessageBatch {
    pub id: String,
    /// `message_batch`
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `in_progress`, `canceling` or `ended`.
    pub processing_status: &'static str,
    pub request_counts: MessageBatchCounts,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub ended_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub archived_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub cancel_initiated_at: Option<Timestamp>,
    #[schema(required)]
    pub results_url: Option<String>,
}

/// Numbers of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct MessageBatchCounts {
    pub processing: u64,
    pub succeeded: u64,
    pub errored: u64,
    pub canceled: u64,
    pub expired: u64,
}

/// A page of batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MessageBatchList {
    pub data: Vec<MessageBatch>,
    pub has_more: bool,
    #[schema(required)]
    pub first_id: Option<String>,
    #[schema(required)]
    pub last_id: Option<String>,
}

/// The deleted batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MessageBatchDeleted {
    pub id: String,
    /// `message_batch_deleted`
    #[serde(rename = "type")]
    pub kind: &'static str,
}
