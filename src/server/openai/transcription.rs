//! `POST /v1/audio/transcriptions`

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::TryStreamExt as _;

use super::answer;
use crate::api::openai::Transcription;
use crate::dialect::openai::transcription::{self, Form};
use crate::server::error::OpenAiError;
use crate::server::extract::{Client, OpenAiForm};
use crate::server::state::App;
use crate::server::stream::to_bytes;

pub(super) async fn transcription(
    State(app): State<App>,
    client: Client,
    OpenAiForm(form): OpenAiForm,
) -> Result<Response, OpenAiError> {
    let (mut native, form) = transcription::request(form)?;
    client.mark(&mut native.common);
    let mut chunks = app.inference.chat(native).await?;
    let mut text = String::new();
    while let Some(chunk) = chunks.try_next().await? {
        text.push_str(&chunk.content);
    }
    let text = text.trim().to_owned();
    Ok(match form {
        Form::Json => answer(to_bytes(&Transcription { text })),
        Form::Text => ([(header::CONTENT_TYPE, "text/plain")], text).into_response(),
    })
}
