//! `/v1/messages/batches`

use jiff::Timestamp;
use serde::Serialize;

/// A batch of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageBatch {
    pub id: String,
    /// `message_batch`
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `in_progress`, `canceling` or `ended`.
    pub processing_status: &'static str,
    pub request_counts: MessageBatchCounts,
    pub ended_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub archived_at: Option<Timestamp>,
    pub cancel_initiated_at: Option<Timestamp>,
    pub results_url: Option<String>,
}

/// Numbers of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MessageBatchCounts {
    pub processing: u64,
    pub succeeded: u64,
    pub errored: u64,
    pub canceled: u64,
    pub expired: u64,
}

/// A page of batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageBatchList {
    pub data: Vec<MessageBatch>,
    pub has_more: bool,
    pub first_id: Option<String>,
    pub last_id: Option<String>,
}

/// What was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageBatchDeleted {
    pub id: String,
    /// `message_batch_deleted`
    #[serde(rename = "type")]
    pub kind: &'static str,
}
