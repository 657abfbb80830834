//! From errors to answers: the only place that makes statuses.
//!
//! *Invariant:* a failure of ours (status 500 and above) is logged here, once, whether it becomes
//! a status or the last line of a stream.

use std::borrow::Cow;
use std::error::Error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use super::connection::Stalled;
use super::stream::to_bytes;
use crate::api::ollama::ErrorBody;
use crate::create::CreateError;
use crate::inference::{InferenceError, InferenceErrorKind};
use crate::plain;
use crate::registry::RegistryError;
use crate::store::StoreError;

/// Content type of plain answers and errors.
pub(crate) const JSON: &str = "application/json; charset=utf-8";

/// Status that Ollama's log and clients know for a client that went away.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What went wrong, before a dialect has spelled it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// In full, for the log; the client reads it without paths.
    pub(crate) message: String,
    /// The field of the request that is to blame.
    param: Option<Cow<'static, str>>,
    /// What is wrong with it, for programs.
    code: Option<&'static str>,
    /// The client's mistake, whatever status Ollama's routes have for it.
    is_mistake: bool,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            param: None,
            code: None,
            is_mistake: false,
        }
    }

    /// Says which field of the request is to blame, and why.
    #[must_use]
    pub(crate) fn about(mut self, param: impl Into<Cow<'static, str>>, code: &'static str) -> Self {
        self.param = Some(param.into());
        self.code = Some(code);
        self
    }

    /// 400
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Says for programs what is wrong, where no field of the request is.
    #[must_use]
    pub(crate) fn coded(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// 408 when a request's body did not arrive in time, else 400.
    pub(crate) fn body(error: &(dyn Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |&error| error.source());
        let status = if causes.any(|cause| cause.is::<Stalled>()) {
            StatusCode::REQUEST_TIMEOUT
        } else {
            StatusCode::BAD_REQUEST
        };
        Self::new(status, error.to_string())
    }

    /// 404
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 500
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 503: the daemon stops.
    pub(crate) fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the server is shutting down",
        )
    }

    /// What the client reads: of a failure of ours not where things are on this machine.
    fn shown(&self) -> String {
        let message = plain::redacted(&self.message);
        if self.status.is_server_error() {
            plain::without_paths(&message).into_owned()
        } else {
            message.into_owned()
        }
    }

    fn log(&self) {
        if self.status.is_server_error() {
            tracing::error!(status = self.status.as_u16(), error = %self.message, "request failed");
        }
    }
}

impl From<InferenceError> for ApiError {
    fn from(error: InferenceError) -> Self {
        let status = match error.kind {
            InferenceErrorKind::Invalid => StatusCode::BAD_REQUEST,
            InferenceErrorKind::Forbidden => StatusCode::FORBIDDEN,
            InferenceErrorKind::NotFound => StatusCode::NOT_FOUND,
            InferenceErrorKind::Canceled => StatusCode::from_u16(CLIENT_CLOSED_REQUEST)
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            InferenceErrorKind::Internal | InferenceErrorKind::Mistaken => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            InferenceErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            InferenceErrorKind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self {
            param: error.param,
            code: error.code,
            is_mistake: error.kind == InferenceErrorKind::Mistaken,
            ..Self::new(status, error.message)
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::NotFound(_) | StoreError::BlobNotFound(_) => StatusCode::NOT_FOUND,
            StoreError::DigestMismatch { .. } => StatusCode::BAD_REQUEST,
            StoreError::Locked { .. } => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::Corrupt { .. }
            | StoreError::Denied { .. }
            | StoreError::NoSpace { .. }
            | StoreError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        if error.is_refused() {
            return Self::new(StatusCode::FORBIDDEN, error.to_string());
        }
        Self::internal(error.to_string())
    }
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        let status =
            StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, error.message)
    }
}

/// A blocking job that panicked.
impl From<tokio::task::JoinError> for ApiError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::internal(error.to_string())
    }
}

/// An error as Ollama's own routes spell it: `{"error":"…"}`.
#[derive(Debug)]
pub(crate) struct OllamaError(pub(crate) ApiError);

impl<E: Into<ApiError>> From<E> for OllamaError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for OllamaError {
    fn into_response(self) -> Response {
        respond(&self.0, ollama_line(&self.0))
    }
}

/// The last line of a stream that failed. Also the body of an error, whose readers do not mind
/// the line's end.
pub(crate) fn ollama_line(error: &ApiError) -> Bytes {
    to_bytes(&ErrorBody {
        error: error.shown(),
    })
}

/// An error as the OpenAI routes spell it: `{"error":{"message","type","param","code"}}`.
#[derive(Debug)]
pub(crate) struct OpenAiError(pub(crate) ApiError);

impl<E: Into<ApiError>> From<E> for OpenAiError {
    fn from(error: E) -> Self {
        let mut error = error.into();
        // Its clients send again what ends with 500.
        if error.is_mistake {
            error.status = StatusCode::BAD_REQUEST;
        }
        Self(error)
    }
}

impl IntoResponse for OpenAiError {
    fn into_response(self) -> Response {
        respond(&self.0, to_bytes(&openai_body(&self.0)))
    }
}

/// The object that the OpenAI clients know, also as the last event of a stream that failed.
pub(crate) fn openai_body(error: &ApiError) -> Value {
    let kind = match error.status {
        _ if error.is_mistake => INVALID,
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::METHOD_NOT_ALLOWED => INVALID,
        StatusCode::NOT_FOUND if error.code == Some(UNKNOWN_URL) => INVALID,
        StatusCode::NOT_FOUND => "not_found_error",
        _ => "api_error",
    };
    json!({"error": {
        "message": error.shown(),
        "type": kind,
        "param": error.param,
        "code": error.code,
    }})
}

const INVALID: &str = "invalid_request_error";

/// `code` of a path that is none, for which OpenAI has another type than for a model that is none.
pub(crate) const UNKNOWN_URL: &str = "unknown_url";

/// Logs an error that ends a stream.
pub(crate) fn log_broken_stream(error: &ApiError) {
    tracing::warn!(status = error.status.as_u16(), error = %error.message, "answer broke off");
}

fn respond(error: &ApiError, body: Bytes) -> Response {
    error.log();
    let body = body.slice(..body.len().saturating_sub(1));
    let mut response = (error.status, [(header::CONTENT_TYPE, JSON)], body).into_response();
    let extra = match error.status {
        // Clients that try again by themselves look for it.
        StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
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
        for (status, kind) in [
            (400, "invalid_request_error"),
            (404, "not_found_error"),
            (503, "api_error"),
        ] {
            let error = ApiError::new(StatusCode::from_u16(status).unwrap(), "no");
            let (got, _, body) = text(OpenAiError(error).into_response()).await;
            let expected = format!(
                r#"{{"error":{{"message":"no","type":"{kind}","param":null,"code":null}}}}"#
            );
            assert_eq!((got, body), (status, expected));
        }
    }

    #[tokio::test]
    async fn a_clients_mistake_is_400_where_ollama_does_not_say_otherwise() {
        let error = InferenceError::new(InferenceErrorKind::Mistaken, "no");
        let error = error.about("format", "invalid_type");
        let (status, _, body) = text(OpenAiError::from(error.clone()).into_response()).await;
        assert_eq!(status, 400);
        let expected = r#"{"error":{"message":"no","type":"invalid_request_error","param":"format","code":"invalid_type"}}"#;
        assert_eq!(body, expected);
        assert_eq!(openai_body(&error.clone().into())["error"]["type"], INVALID);
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
        // What the client said itself is repeated as it is.
        let error = ApiError::invalid("invalid model name: /srv/x");
        let (_, _, body) = text(OllamaError(error).into_response()).await;
        assert!(body.contains("/srv/x"), "{body}");
    }

    #[test]
    fn every_kind_of_failure_has_its_status() {
        let kinds = [
            (InferenceErrorKind::Invalid, 400),
            (InferenceErrorKind::Forbidden, 403),
            (InferenceErrorKind::NotFound, 404),
            (InferenceErrorKind::Canceled, 499),
            (InferenceErrorKind::Internal, 500),
            (InferenceErrorKind::Mistaken, 500),
            (InferenceErrorKind::Unsupported, 501),
            (InferenceErrorKind::Overloaded, 503),
        ];
        for (kind, status) in kinds {
            let error: ApiError = InferenceError::new(kind, "x").into();
            assert_eq!(error.status.as_u16(), status);
        }
        let missing: ApiError = StoreError::BlobNotFound(Digest::of(b"")).into();
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
        let odd: ApiError = CreateError {
            status: 0,
            message: String::new(),
        }
        .into();
        assert_eq!(odd.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
