//! Makes a model from a request: layers, config, manifest.

// STUB (owner: model/store helper)

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::chat::Message;
use crate::model::ModelName;
use crate::store::Store;

/// What to make (`POST /api/create`, names already parsed).
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// An existing model; wins over `files`.
    pub from: Option<String>,
    /// Relative path → digest of an uploaded blob.
    pub files: BTreeMap<String, String>,
    pub adapters: BTreeMap<String, String>,
    pub draft_files: BTreeMap<String, String>,
    pub template: String,
    pub system: String,
    pub licenses: Vec<String>,
    pub parameters: Map<String, Value>,
    pub messages: Vec<Message>,
    pub quantize: String,
    pub renderer: String,
    pub parser: String,
    pub requires: String,
    pub info: Map<String, Value>,
}

/// Progress texts, exactly Ollama's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub status: String,
}

/// Why a model could not be made; `status` is the HTTP status that Ollama gives.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CreateError {
    pub status: u16,
    pub message: String,
}

/// Checks what Ollama checks before its stream begins (relative paths, digests).
///
/// # Errors
/// 400 with Ollama's text.
pub fn validate(_request: &CreateRequest) -> Result<(), CreateError> {
    todo!()
}

/// Makes the model; blocks. The manifest is written last.
///
/// # Errors
/// Nothing but unreferenced blobs is left behind on failure.
pub fn create(
    _store: &Store,
    _target: &ModelName,
    _request: &CreateRequest,
    _progress: &mut dyn FnMut(Status),
) -> Result<(), CreateError> {
    todo!()
}
