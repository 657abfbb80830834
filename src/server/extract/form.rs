//! Forms with a file: a small one in memory (`/v1/audio/transcriptions`), a large one on its way to disk
//! (`/v1/files`).

use std::error::Error as _;

use axum::extract::{FromRequest, Request};
use axum::http::header;
use bytes::Bytes;
use futures_util::stream;
use multer::{Constraints, Multipart, SizeLimit};

use super::{Held, collect};
use crate::api::openai::TranscriptionRequest;
use crate::jobs::{Files, Incoming, JobsError};
use crate::server::error::{ApiError, OpenAiError};
use crate::server::origin::Origin;
use crate::server::state::App;

/// The most bytes of a field that is not a file, and the most fields that are read.
const TEXT: u64 = 64 << 10;
const FIELDS: usize = 64;

/// A form of one of OpenAI's routes.
#[derive(Debug)]
pub(crate) struct OpenAiForm(pub(crate) TranscriptionRequest);

impl FromRequest<App> for OpenAiForm {
    type Rejection = OpenAiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, OpenAiError> {
        let held = Held::of(request.extensions());
        let origin = Origin::of_request(request.extensions());
        let boundary = boundary(&request).map_err(unreadable)?;
        let mut share = app.memory.share(origin);
        let limit = app.config.max_body_bytes;
        let bytes = collect(request.into_body(), limit, &mut share).await?;
        // The file is copied out of it, and again on its way to the runner.
        share.grow(3 * bytes.len()).await?;
        // The whole body is in memory, so the search for the boundary never blocks; it may take long for this thread.
        let form = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Handle::current();
            runtime.block_on(read(bytes.into(), boundary))
        });
        let form = form
            .await
            .map_err(|error| ApiError::internal(error.to_string()))?;
        let form = form.map_err(unreadable)?;
        held.keep(share);
        Ok(Self(form))
    }
}

/// A form whose file was written to disk as it arrived.
#[derive(Debug)]
pub(crate) struct SpooledForm {
    /// The file with its name.
    pub(crate) file: Option<(String, Incoming)>,
    /// The other fields; of several with the same name the first one counts.
    pub(crate) fields: Vec<(String, String)>,
}

impl SpooledForm {
    /// Takes the value of a field.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.fields.iter().position(|(known, _)| known == name)?;
        Some(self.fields.swap_remove(at).1)
    }
}

/// Reads a form whose file is the field `file_field` of at most so many bytes. Fields may come in any order. If the
/// client leaves, the file is removed.
pub(crate) async fn spooled(
    request: Request,
    files: &Files,
    file_field: &str,
    most: u64,
) -> Result<SpooledForm, ApiError> {
    let boundary = boundary(&request).map_err(unreadable)?;
    let limits = SizeLimit::new()
        .per_field(TEXT)
        .for_field(file_field, u64::MAX);
    let constraints = Constraints::new().size_limit(limits);
    let body = request.into_body().into_data_stream();
    let mut parts = Multipart::with_constraints(body, boundary, constraints);
    let mut form = SpooledForm {
        file: None,
        fields: Vec::new(),
    };
    for _ in 0..FIELDS {
        let Some(mut field) = parts.next_field().await.map_err(broken)? else {
            return Ok(form);
        };
        let name = field.name().unwrap_or_default().to_owned();
        if name != file_field {
            let text = field.text().await.map_err(broken)?;
            if form.fields.iter().all(|(known, _)| *known != name) {
                form.fields.push((name, text));
            }
            continue;
        }
        // A text field is not a file, and of several files the first one counts.
        let Some(filename) = field.file_name().filter(|_| form.file.is_none()) else {
            while field.chunk().await.map_err(broken)?.is_some() {}
            continue;
        };
        let filename = filename.to_owned();
        let mut incoming = files.begin(most).await?;
        while let Some(piece) = field.chunk().await.map_err(broken)? {
            incoming.write(&piece).await.map_err(|error| match error {
                JobsError::TooLarge(most) => crate::dialect::openai::files::too_large(most),
                error => error.into(),
            })?;
        }
        form.file = Some((filename, incoming));
    }
    Err(ApiError::invalid(
        "failed to parse multipart form: too many fields",
    ))
}

/// The form is malformed, or the client stopped sending.
fn broken(error: multer::Error) -> ApiError {
    match error.source() {
        Some(source) if matches!(error, multer::Error::StreamReadFailed(_)) => {
            ApiError::body(source)
        }
        _ => unreadable(error),
    }
}

fn boundary(request: &Request) -> Result<String, multer::Error> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    multer::parse_boundary(kind.unwrap_or_default())
}

/// The error, in Ollama's words.
fn unreadable(error: multer::Error) -> ApiError {
    let cause = match error {
        multer::Error::NoMultipart | multer::Error::DecodeContentType(_) => {
            "request Content-Type isn't multipart/form-data".to_owned()
        }
        error => error.to_string(),
    };
    ApiError::invalid(format!("failed to parse multipart form: {cause}"))
}

/// Reads the fields; of several with the same name the first one counts, as in Go.
async fn read(bytes: Bytes, boundary: String) -> Result<TranscriptionRequest, multer::Error> {
    let n_bytes = bytes.len() as u64;
    let limits = SizeLimit::new().per_field(TEXT).for_field("file", n_bytes);
    let constraints = Constraints::new().size_limit(limits);
    let body = stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut fields = Multipart::with_constraints(body, boundary, constraints);
    let mut form = TranscriptionRequest::default();
    for _ in 0..FIELDS {
        let Some(field) = fields.next_field().await? else {
            break;
        };
        let place = match field.name() {
            Some("file") => {
                let file = field.bytes().await?;
                form.file.get_or_insert(file);
                continue;
            }
            Some("model") => &mut form.model,
            Some("language") => &mut form.language,
            Some("prompt") => &mut form.prompt,
            Some("response_format") => &mut form.response_format,
            Some("temperature") => &mut form.temperature,
            Some("stream") => &mut form.stream,
            _ => continue,
        };
        let text = field.text().await?;
        place.get_or_insert(text);
    }
    Ok(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, value: &str) -> String {
        format!("--X\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n")
    }

    async fn parsed(body: String) -> Result<TranscriptionRequest, String> {
        let form = read(body.into(), "X".to_owned()).await;
        form.map_err(|error| unreadable(error).message)
    }

    #[tokio::test]
    async fn fields_are_found_by_their_names() {
        let body = [
            part("name=\"other\"", "x"),
            part("name=\"model\"", "m"),
            part("name=\"model\"", "second"),
            part("name=\"file\"; filename=\"a.wav\"", "RIFF"),
            part("name=\"response_format\"", "text"),
        ];
        let form = parsed(body.concat() + "--X--\r\n").await.unwrap();
        assert_eq!(
            (form.model.as_deref(), form.response_format.as_deref()),
            (Some("m"), Some("text"))
        );
        assert_eq!(form.file.as_deref(), Some(&b"RIFF"[..]));
        assert_eq!(form.language, None);
    }

    #[tokio::test]
    async fn what_is_no_form_is_refused() {
        for body in ["", "--X", "nothing", "--X\r\n\r\n"] {
            let error = parsed(body.to_owned()).await.unwrap_err();
            assert!(
                error.starts_with("failed to parse multipart form: "),
                "{body:?}: {error}"
            );
        }
        let long = "x".repeat(usize::try_from(TEXT).unwrap() + 1);
        let error = parsed(part("name=\"prompt\"", &long) + "--X--\r\n").await;
        assert!(error.unwrap_err().contains("prompt"));
        let many = part("name=\"a\"", "b").repeat(1000) + "--X--\r\n";
        assert_eq!(parsed(many).await.unwrap(), TranscriptionRequest::default());
        assert!(matches!(
            multer::parse_boundary("application/json"),
            Err(multer::Error::NoMultipart)
        ));
    }
}
