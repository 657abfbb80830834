//! The options of a request, including its timeout.

use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::error::{ErrorKind, RequestError};
use crate::inference::{after, timeout};
use crate::model::OptionPatch;

/// Our addition to Ollama's options: seconds, or a duration such as `1m30s`.
const TIMEOUT: &str = "timeout";

/// Reads the options; returns them with the request's deadline.
///
/// # Errors
/// A value of a wrong type, with Ollama's text, or a bad `timeout` (400).
pub(super) fn options(
    mut options: Map<String, Value>,
) -> Result<(OptionPatch, Option<Instant>), RequestError> {
    let deadline = match options.shift_remove(TIMEOUT) {
        None | Some(Value::Null) => None,
        Some(value) => deadline(&value)?,
    };
    let wrong = |message| RequestError::new(ErrorKind::Mistaken, message);
    let patch = OptionPatch::parse(&options).map_err(wrong)?;
    Ok((patch, deadline))
}

fn deadline(value: &Value) -> Result<Option<Instant>, RequestError> {
    let wrong = || {
        let message =
            format!("option \"timeout\" must be a time such as 30 or \"1m30s\", not {value}");
        RequestError::new(ErrorKind::Invalid, message).about("timeout", "invalid_value")
    };
    let time = match value {
        Value::String(text) => timeout(text),
        other => timeout(&other.to_string()),
    };
    Ok(after(time.ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<(OptionPatch, Option<Instant>), RequestError> {
        let Value::Object(map) = value else {
            panic!("no options")
        };
        options(map)
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_is_a_deadline_and_no_option_of_the_model() {
        let now = Instant::now();
        for (timeout, expected) in [
            (json!(30), Some(30)),
            (json!(30.0), Some(30)),
            (json!("10s"), Some(10)),
            (json!(null), None),
        ] {
            let (patch, deadline) = read(json!({"timeout": timeout, "seed": 1})).unwrap();
            let expected = expected.map(|seconds| now + Duration::from_secs(seconds));
            assert_eq!(deadline, expected, "{timeout}");
            let seed = OptionPatch {
                seed: Some(1),
                ..OptionPatch::default()
            };
            assert_eq!(patch, seed);
        }
        for bad in [json!(1e300), json!(true), json!("soon"), json!(-1)] {
            let error = read(json!({ "timeout": bad })).unwrap_err();
            assert_eq!(
                (error.kind, error.param.as_deref()),
                (ErrorKind::Invalid, Some("timeout"))
            );
        }
    }

    #[test]
    fn a_wrong_type_is_told_in_ollamas_words() {
        let error = read(json!({"num_ctx": "x"})).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Mistaken);
        assert_eq!(error.message, "option \"num_ctx\" must be of type integer");
    }
}
