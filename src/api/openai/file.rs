//! `/v1/files` and `/v1/uploads`

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::chat::null_is_default;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileObject {
    pub id: String,
    /// `file`
    #[serde(default)]
    #[schema(required)]
    pub object: String,
    #[serde(default)]
    #[schema(required)]
    pub bytes: u64,
    /// Unix seconds.
    #[serde(default)]
    #[schema(required)]
    pub created_at: i64,
    #[schema(required)]
    pub expires_at: Option<i64>,
    #[serde(default)]
    #[schema(required)]
    pub filename: String,
    #[serde(default)]
    #[schema(required)]
    pub purpose: String,
    /// `processed`; deprecated, but clients require it.
    #[serde(default)]
    #[schema(required)]
    pub status: String,
    #[schema(required)]
    pub status_details: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = openai::Page)]
pub struct Page<T> {
    /// `list`
    #[serde(default)]
    #[schema(required)]
    pub object: String,
    pub data: Vec<T>,
    #[schema(required)]
    pub first_id: Option<String>,
    #[schema(required)]
    pub last_id: Option<String>,
    #[serde(default)]
    #[schema(required)]
    pub has_more: bool,
}

/// The deleted file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::Deleted)]
pub struct Deleted {
    pub id: String,
    /// `file`
    pub object: &'static str,
    pub deleted: bool,
}

/// `expires_after`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(default)]
pub struct ExpiresAfter {
    #[serde(deserialize_with = "null_is_default")]
    pub anchor: String,
    pub seconds: Option<i64>,
}

/// Body of `POST /v1/uploads`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(default)]
pub struct UploadRequest {
    pub bytes: Option<i64>,
    pub filename: Option<String>,
    pub mime_type: Option<String>,
    pub purpose: Option<String>,
    #[schema(default)]
    pub expires_after: Option<ExpiresAfter>,
}

/// Body of `POST /v1/uploads/{id}/complete`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(default)]
pub struct CompleteRequest {
    pub part_ids: Option<Vec<String>>,
    pub md5: Option<String>,
}

/// An upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UploadObject {
    pub id: String,
    /// `upload`
    pub object: &'static str,
    /// The announced size.
    pub bytes: u64,
    pub created_at: i64,
    pub expires_at: i64,
    pub filename: String,
    pub purpose: String,
    pub status: &'static str,
    #[schema(required)]
    pub file: Option<FileObject>,
}

/// A part of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PartObject {
    pub id: String,
    /// `upload.part`
    pub object: &'static str,
    pub created_at: i64,
    pub upload_id: String,
}
