//! `/v1/audio/transcriptions`.

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

/// The fields of a form; missing ones are `None`.
#[derive(Debug, Clone, Default, PartialEq, ToSchema)]
pub struct TranscriptionRequest {
    pub model: Option<String>,
    /// The audio file.
    #[schema(value_type = Option<String>, format = Binary)]
    pub file: Option<Bytes>,
    /// The language of the audio, as the client names it.
    pub language: Option<String>,
    /// What the audio is about.
    pub prompt: Option<String>,
    pub response_format: Option<String>,
    pub temperature: Option<String>,
    pub stream: Option<String>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Transcription {
    pub text: String,
}
