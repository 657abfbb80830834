//! Makes a model from a request: layers, config, manifest.
//!
//! Blobs are written first and pinned; the manifest comes last, under the store's lock, so that a failure
//! at any point leaves nothing but unreferenced blobs, which are pruned later. The same request on the same
//! store yields the same digests.

mod config;
pub mod detect;
mod files;
mod parts;
pub mod quantize;
mod rules;
mod source;
mod split;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::chat::Message;
use crate::error::ErrorKind;
use crate::model::{Digest, Manifest, ModelName, manifest as media};
use crate::store::{Store, StoreError};

use parts::Parts;
use quantize::Quantizer;

/// What to make (`POST /api/create`, names already parsed).
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// An existing model; takes precedence over `files`.
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

/// Placeholder for the digest of a file that does not exist yet.
const NO_DIGEST: &str = "0000000000000000000";

/// The warning about a model without a template, which is usually not a chat model.
pub const UNTAUGHT: &str = "no chat template: prompts go to the model as they are, chats in ChatML; a \
                            TEMPLATE in the Modelfile says otherwise";

/// Progress texts, exactly Ollama's; the last one is `success`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub status: String,
    /// The digest of the current blob; empty for steps without one.
    pub digest: String,
    /// In bytes.
    pub total: Option<u64>,
    pub completed: Option<u64>,
}

/// Why a model could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CreateError {
    pub kind: ErrorKind,
    pub message: String,
}

impl CreateError {
    /// An error for a request that cannot be fulfilled.
    fn bad(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            message: message.into(),
        }
    }

    fn internal(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Internal,
            message: message.into(),
        }
    }
}

impl From<StoreError> for CreateError {
    fn from(error: StoreError) -> Self {
        Self::internal(error.to_string())
    }
}

/// Checks what Ollama checks before its stream begins (relative paths, digests).
///
/// # Errors
/// 400 with Ollama's text.
pub fn validate(request: &CreateRequest) -> Result<(), CreateError> {
    let paths = request.files.keys().chain(request.draft_files.keys());
    if !paths.into_iter().all(|path| is_inside(path)) {
        return Err(CreateError::bad("file path must be relative"));
    }
    let maps = [&request.files, &request.adapters, &request.draft_files];
    for digest in maps.into_iter().flat_map(BTreeMap::values) {
        parse_digest(digest)?;
    }
    Ok(())
}

/// Makes the model; blocks. The manifest is written last.
///
/// # Errors
/// A failure leaves nothing but unreferenced blobs.
pub fn create(
    store: &Store,
    target: &ModelName,
    request: &CreateRequest,
    quantizer: Quantizer<'_>,
    progress: &mut (dyn FnMut(Status) + Send),
) -> Result<(), CreateError> {
    validate(request)?;
    let mut parts = Parts::new(store, progress);
    let base = source::collect(&mut parts, request)?;
    quantize::apply(&mut parts, &request.quantize, quantizer)?;
    text::apply(&mut parts, request, &base)?;
    let config = config::build(request, &base, &parts)?;
    if text::is_untaught(&parts, &config) {
        parts.report(UNTAUGHT);
    }
    let config = parts.write_json(media::MEDIA_CONFIG, &config)?;
    let (layers, pins) = parts.finish();
    let mut step = |status: &str| {
        progress(Status {
            status: status.to_owned(),
            ..Status::default()
        });
    };
    step("writing manifest");
    store.replace(target, &Manifest::new(config, layers), pins)?;
    step("success");
    Ok(())
}

/// Whether a relative path stays inside its folder, by the rules of Go's `fs.ValidPath`.
fn is_inside(path: &str) -> bool {
    path.split('/')
        .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
}

fn parse_digest(text: &str) -> Result<Digest, CreateError> {
    text.parse()
        .map_err(|error: crate::model::digest::InvalidDigest| CreateError::bad(error.to_string()))
}
