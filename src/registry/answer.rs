//! Reads a registry's responses: never more than a fixed bound into memory, and never passing on text from
//! a host that no user of this machine has named.

use std::time::Duration;

use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::RegistryError;

/// The longest response of the protocol that is held in memory, in bytes.
pub(super) const MAX_ANSWER_BYTES: usize = 4 << 20;

/// How much of an error's body is read, in bytes.
const MAX_ERROR_BYTES: usize = 4096;

/// How much of a reason is passed on, in characters.
const MAX_REASON: usize = 200;

/// A registry's error body: the distribution protocol's form, or a single string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reason {
    Errors { errors: Vec<Entry> },
    Error { error: String },
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Reads a whole response, within a limit of size and time.
///
/// # Errors
/// The connection breaks, there are more than `most` bytes, or time runs out.
pub(super) async fn body(
    mut response: Response,
    most: usize,
    time: Duration,
) -> Result<Vec<u8>, RegistryError> {
    let read = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if bytes.len() + chunk.len() > most {
                return Err(RegistryError::Malformed(format!(
                    "the registry's answer is longer than {most} bytes"
                )));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    let late = |_| {
        RegistryError::Malformed(format!(
            "the registry's answer takes longer than {} s",
            time.as_secs_f64()
        ))
    };
    tokio::time::timeout(time, read).await.map_err(late)?
}

/// Turns a refusal into an error, with the registry's reason where `is_known`.
///
/// # Errors
/// Any status of 400 and above.
pub(super) async fn refused(
    response: Response,
    is_known: bool,
    time: Duration,
) -> Result<Response, RegistryError> {
    let status = response.status();
    if status == StatusCode::NOT_FOUND {
        return Err(RegistryError::NotFound);
    }
    if status.as_u16() < 400 {
        return Ok(response);
    }
    let reason = if is_known {
        // A longer body is not an error of the protocol.
        body(response, MAX_ERROR_BYTES, time)
            .await
            .map(|text| reason(&text))
    } else {
        Ok(String::new())
    };
    Err(RegistryError::Status {
        status: status.as_u16(),
        reason: reason.unwrap_or_default(),
    })
}

/// Returns the URL in a header, which may be relative to the requested one; `None` if there is no such
/// header.
///
/// # Errors
/// It is not an HTTP URL.
pub(super) fn target(response: &Response, header: &str) -> Result<Option<Url>, RegistryError> {
    let text = response.headers().get(header);
    let text = text.and_then(|value| value.to_str().ok());
    let url = text.and_then(|text| response.url().join(text).ok());
    match url {
        Some(url) if !matches!(url.scheme(), "http" | "https") => Err(RegistryError::Refused(
            format!("the registry leads to a `{}:` address", words(url.scheme())),
        )),
        url => Ok(url),
    }
}

/// Returns the reason in an error's body, as one line.
fn reason(body: &[u8]) -> String {
    let text = match serde_json::from_slice(body) {
        Ok(Reason::Error { error }) => error,
        Ok(Reason::Errors { errors }) => {
            let reasons = errors.into_iter().map(|entry| {
                if entry.message.is_empty() {
                    entry.code
                } else {
                    entry.message
                }
            });
            reasons
                .filter(|reason| !reason.is_empty())
                .collect::<Vec<_>>()
                .join(", ")
        }
        Err(_) => String::new(),
    };
    words(&text)
}

/// Makes foreign text safe to show: one line without control characters, of bounded length.
pub(super) fn words(text: &str) -> String {
    let is_shown = |letter: &char| !letter.is_control();
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(is_shown)
        .take(MAX_REASON)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_and_nothing_else() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#,
                "not yours",
            ),
            (
                r#"{"errors":[{"code":"DENIED"},{"message":"b"}],"x":1}"#,
                "DENIED, b",
            ),
            (
                r#"{"error":"this key\n is\u001b[31m not known\u009b"}"#,
                "this key is[31m not known",
            ),
            (r#"{"errors":[]}"#, ""),
            (r#"{"error":{"secret":1}}"#, ""),
            (r#"{"secret":"x"}"#, ""),
            ("<html>secret</html>", ""),
            ("\"secret\"", ""),
            ("", ""),
        ] {
            assert_eq!(reason(body.as_bytes()), expected, "{body}");
        }
        let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(3000));
        assert_eq!(reason(long.as_bytes()).len(), MAX_REASON);
    }
}
