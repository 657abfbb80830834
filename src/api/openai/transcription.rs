//! `/v1/audio/transcriptions`.

use bytes::Bytes;
use serde::Serialize;

/// The fields of a form; those that were not sent are `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TranscriptionRequest {
    pub model: Option<String>,
    /// The sound, as its file.
    pub file: Option<Bytes>,
    /// Of the sound, as the client calls it.
    pub language: Option<String>,
    /// What the sound is about.
    pub prompt: Option<String>,
    pub response_format: Option<String>,
    pub temperature: Option<String>,
    pub stream: Option<String>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transcription {
    pub text: String,
}
