//! Bodies that are read piece by piece: no type holds them.

use utoipa::ToSchema;

use crate::api::anthropic::MessagesRequest;

/// Body of `POST /v1/files`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a form")]
pub(super) struct FileForm {
    #[schema(format = Binary)]
    file: String,
    /// What the file is for, such as `batch`.
    purpose: String,
    /// `created_at`
    #[schema(rename = "expires_after[anchor]")]
    anchor: Option<String>,
    /// Seconds after which the file is deleted.
    #[schema(rename = "expires_after[seconds]")]
    seconds: Option<i64>,
}

/// Body of `POST /v1/uploads/{id}/parts`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a form")]
pub(super) struct PartForm {
    #[schema(format = Binary)]
    data: String,
}

/// Body of `POST /v1/messages/batches`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a body")]
pub(super) struct MessageBatchRequest {
    requests: Vec<MessageBatchEntry>,
}

/// A request of a batch.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a body")]
struct MessageBatchEntry {
    /// Names the result; unique in the batch.
    custom_id: String,
    params: MessagesRequest,
}
