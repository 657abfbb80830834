//! Turns errors into responses: the only place that sets error statuses.
//!
//! *Invariant:* an internal error (status 500 and above) is logged here once, whether it becomes a status
//! or the last line of a stream.

use std::error::Error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::connection::Stalled;
use super::stream::to_bytes;
use crate::create::CreateError;
use crate::dialect::{anthropic, ollama, openai};
use crate::error::{ErrorKind, RequestError};
use crate::jobs::JobsError;
use crate::metrics::account;
use crate::registry::RegistryError;
use crate::store::StoreError;

/// Content type of JSON responses and errors.
pub(crate) const JSON: &str = "application/json; charset=utf-8";

/// An error, before a dialect turns it into a response.
pub(crate) type ApiError = RequestError;

impl RequestError {
    /// The error for a body that broke off or did not arrive in time.
    pub(crate) fn body(error: &(dyn Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |&error| error.source());
        let kind = if causes.any(|cause| cause.is::<Stalled>()) {
            ErrorKind::Timeout
        } else {
            ErrorKind::Invalid
        };
        Self::new(kind, error.to_string())
    }

    /// The error of requests while the daemon stops.
    pub(crate) fn stopping() -> Self {
        Self::new(ErrorKind::Overloaded, "the server is shutting down")
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::NotFound(_) | StoreError::BlobNotFound(_) => ErrorKind::NotFound,
            StoreError::DigestMismatch { .. } => ErrorKind::Invalid,
            StoreError::Locked { .. } => ErrorKind::Overloaded,
            StoreError::Corrupt { .. }
            | StoreError::Denied { .. }
            | StoreError::NoSpace { .. }
            | StoreError::Io(_) => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        if error.is_refused() {
            return Self::new(ErrorKind::Forbidden, error.to_string());
        }
        Self::internal(error.to_string())
    }
}

impl From<JobsError> for ApiError {
    fn from(error: JobsError) -> Self {
        let message = error.to_string();
        match error {
            JobsError::UnknownFile(_)
            | JobsError::UnknownUpload(_)
            | JobsError::UnknownPart(_)
            | JobsError::UnknownBatch(_) => Self {
                param: Some("id".into()),
                ..Self::not_found(message)
            },
            JobsError::TooLate { .. } => Self::new(ErrorKind::Conflict, message),
            JobsError::TooManyJobs => Self::new(ErrorKind::Overloaded, message),
            JobsError::UploadIsOver { .. }
            | JobsError::StillRuns(_)
            | JobsError::WrongLength { .. }
            | JobsError::WrongChecksum { .. } => Self::invalid(message),
            JobsError::TooLarge(_) => Self::new(ErrorKind::TooLarge, message),
            JobsError::NoRoom(_) => {
                Self::new(ErrorKind::TooLarge, message).coded("storage_limit_exceeded")
            }
            JobsError::DiskFull | JobsError::Database(_) | JobsError::Io(_) => {
                Self::internal(message)
            }
        }
    }
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        Self::new(error.kind, error.message)
    }
}

/// A blocking job that panicked.
impl From<tokio::task::JoinError> for ApiError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::internal(error.to_string())
    }
}

/// An error of Ollama's routes: `{"error":"…"}`.
#[derive(Debug)]
pub(crate) struct OllamaError(pub(crate) ApiError);

impl<E: Into<ApiError>> From<E> for OllamaError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for OllamaError {
    fn into_response(self) -> Response {
        let status = ollama::error_status(self.0.kind);
        respond(&self.0, status, ollama_line(&self.0))
    }
}

/// The last line of a stream that failed, and the body of an error response.
pub(crate) fn ollama_line(error: &ApiError) -> Bytes {
    to_bytes(&ollama::error_body(error))
}

/// An error of OpenAI's routes: `{"error":{"message","type","param","code"}}`.
#[derive(Debug)]
pub(crate) struct OpenAiError(pub(crate) ApiError);

impl<E: Into<ApiError>> From<E> for OpenAiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for OpenAiError {
    fn into_response(self) -> Response {
        let status = openai::error_status(self.0.kind);
        respond(&self.0, status, to_bytes(&openai::error_body(&self.0)))
    }
}

/// An error of Anthropic's routes: `{"type":"error","error":{"type","message"},"request_id"}`.
#[derive(Debug)]
pub(crate) struct AnthropicError(pub(crate) ApiError);

impl<E: Into<ApiError>> From<E> for AnthropicError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for AnthropicError {
    fn into_response(self) -> Response {
        let status = anthropic::error_status(self.0.kind);
        let id = anthropic_id(REQUEST);
        let body = to_bytes(&anthropic::error_body(&self.0, Some(id.clone())));
        identified(respond(&self.0, status, body), &id)
    }
}

/// The prefix of request ids in Anthropic's API.
pub(crate) const REQUEST: &str = "req_";

/// Makes an id as Anthropic does: the prefix, then random letters and digits.
pub(crate) fn anthropic_id(prefix: &str) -> String {
    let random = std::iter::repeat_with(fastrand::alphanumeric).take(24);
    prefix.chars().chain(random).collect()
}

/// Adds the header that Anthropic's clients log.
pub(crate) fn identified(mut response: Response, id: &str) -> Response {
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert("request-id", id);
    }
    response
}

/// Whether a path belongs to Anthropic's API.
pub(crate) fn is_anthropic(path: &str) -> bool {
    path == "/v1/messages" || path.starts_with("/v1/messages/")
}

/// Routes of other servers, which use OpenAI's error format.
const LIKE_OPENAI: [&str; 10] = [
    "/v2/rerank",
    "/rerank",
    "/reranking",
    "/score",
    "/tokenize",
    "/detokenize",
    "/apply-template",
    "/infill",
    "/props",
    "/slots",
];

/// Makes an error response in the format of the path's API.
pub(crate) fn spelled(error: ApiError, path: &str) -> Response {
    spelled_for(error, path, false)
}

/// The same, but Anthropic's clients get Anthropic's format on routes that both APIs have.
pub(crate) fn spelled_for(error: ApiError, path: &str, for_anthropic: bool) -> Response {
    let is_shared = path == "/v1/models" || path.starts_with("/v1/models/");
    if is_anthropic(path) || (for_anthropic && is_shared) {
        AnthropicError(error).into_response()
    } else if path == "/v1" || path.starts_with("/v1/") || LIKE_OPENAI.contains(&path) {
        OpenAiError(error).into_response()
    } else {
        OllamaError(error).into_response()
    }
}

/// Logs an error that ends a stream.
pub(crate) fn log_broken_stream(error: &ApiError) {
    let status = ollama::error_status(error.kind);
    tracing::warn!(status, error = %error.message, "answer broke off");
    account::note(|facts| facts.broken = Some(error.message.to_string()));
}

fn respond(error: &ApiError, status: u16, body: Bytes) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        tracing::error!(status = status.as_u16(), error = %error.message, "request failed");
    }
    let body = body.slice(..body.len().saturating_sub(1));
    let mut response = (status, [(header::CONTENT_TYPE, JSON)], body).into_response();
    let waits = matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    );
    if waits {
        // Clients with automatic retries use it.
        let seconds = HeaderValue::from(error.retry_after.unwrap_or(1));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    let extra = match status {
        // The rest of the body is not read, so the connection cannot be used again.
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
            Some((header::CONNECTION, "close"))
        }
        _ => None,
    };
    if let Some((name, value)) = extra {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::model::Digest;

    async fn text(response: Response) -> (u16, String, String) {
        let status = response.status().as_u16();
        let kind = response.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ollama_has_one_key_and_no_line_end() {
        let error = ApiError::invalid("\"a<b\" does not support chat");
        let (status, kind, body) = text(OllamaError(error).into_response()).await;
        assert_eq!((status, kind.as_str()), (400, JSON));
        assert_eq!(body, r#"{"error":"\"a\u003cb\" does not support chat"}"#);
    }

    #[tokio::test]
    async fn openai_has_an_object_with_a_type() {
        for (error, status, kind) in [
            (ErrorKind::Invalid, 400, "invalid_request_error"),
            (ErrorKind::NotFound, 404, "not_found_error"),
            (ErrorKind::Overloaded, 503, "api_error"),
        ] {
            let error = ApiError::new(error, "no");
            let (got, _, body) = text(OpenAiError(error).into_response()).await;
            let expected = format!(
                r#"{{"error":{{"message":"no","type":"{kind}","param":null,"code":null}}}}"#
            );
            assert_eq!((got, body), (status, expected));
        }
    }

    #[tokio::test]
    async fn a_clients_mistake_is_400_where_ollama_does_not_say_otherwise() {
        let error = RequestError::new(ErrorKind::Mistaken, "no");
        let error = error.about("format", "invalid_type");
        let (status, _, body) = text(OpenAiError::from(error.clone()).into_response()).await;
        assert_eq!(status, 400);
        let expected = r#"{"error":{"message":"no","type":"invalid_request_error","param":"format","code":"invalid_type"}}"#;
        assert_eq!(body, expected);
        let body = openai::error_body(&error);
        assert_eq!(body.error.kind, "invalid_request_error");
        let (status, ..) = text(OllamaError::from(error).into_response()).await;
        assert_eq!(status, 500);
    }

    #[tokio::test]
    async fn a_failure_of_ours_does_not_say_where_things_are() {
        let message = "cannot read `/srv/my models/blobs/sha256-12`, asked https://me:pw@host/v2";
        let expected = "cannot read `sha256-12`, asked https://***@host/v2";
        let (_, _, body) = text(OllamaError(ApiError::internal(message)).into_response()).await;
        assert!(body.contains(expected), "{body}");
        let (_, _, body) = text(OpenAiError(ApiError::internal(message)).into_response()).await;
        assert!(body.contains(expected), "{body}");
        // Text from the client is repeated unchanged.
        let error = ApiError::invalid("invalid model name: /srv/x");
        let (_, _, body) = text(OllamaError(error).into_response()).await;
        assert!(body.contains("/srv/x"), "{body}");
    }

    #[test]
    fn every_kind_of_failure_has_its_status() {
        let kinds = [
            (ErrorKind::Invalid, 400),
            (ErrorKind::Forbidden, 403),
            (ErrorKind::NotFound, 404),
            (ErrorKind::Canceled, 499),
            (ErrorKind::Internal, 500),
            (ErrorKind::Mistaken, 500),
            (ErrorKind::Unsupported, 501),
            (ErrorKind::Overloaded, 503),
        ];
        for (kind, status) in kinds {
            assert_eq!(ollama::error_status(kind), status);
        }
        let missing: ApiError = StoreError::BlobNotFound(Digest::of(b"")).into();
        assert_eq!(missing.kind, ErrorKind::NotFound);
    }
}
