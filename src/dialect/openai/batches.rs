//! Checks the values of requests for batch jobs. Error texts follow OpenAI's.

use serde_json::Value;

use super::check::{missing, unknown, wrong_type};
use super::files::{BATCH, PageQuery, keep, pages};
use super::invalid;
use crate::api::openai::BatchRequest;
use crate::error::RequestError;

/// The only window that clients may name. How long a job may really take is a setting.
pub const WINDOW: &str = "24h";

/// Limits on metadata: pairs, characters of a key and of a value.
const MAX_PAIRS: usize = 16;
const MAX_KEY: usize = 64;
const MAX_VALUE: usize = 512;

/// The number of jobs of a page: the default, and the most.
const PAGE: i64 = 20;
const MAX_PAGE: i64 = 100;

/// A checked request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub input_file: String,
    pub endpoint: String,
    pub metadata: Option<Vec<(String, String)>>,
    /// How many seconds the results are kept.
    pub keep_seconds: Option<u32>,
}

/// Checks the body of `POST /v1/batches`.
///
/// # Errors
/// Names the value that is missing or wrong.
pub fn request(request: BatchRequest, endpoints: &[&str]) -> Result<Checked, RequestError> {
    let input_file = request.input_file_id;
    let input_file = input_file.ok_or_else(|| missing("input_file_id"))?;
    let endpoint = request.endpoint.ok_or_else(|| missing("endpoint"))?;
    if !endpoints.contains(&endpoint.as_str()) {
        let known: Vec<String> = endpoints.iter().map(|known| format!("'{known}'")).collect();
        return Err(unknown("endpoint", &endpoint, &known.join(", ")));
    }
    let window = request.completion_window;
    let window = window.ok_or_else(|| missing("completion_window"))?;
    if window != WINDOW {
        return Err(unknown(
            "completion_window",
            &window,
            &format!("'{WINDOW}'"),
        ));
    }
    Ok(Checked {
        input_file,
        endpoint,
        metadata: metadata(request.metadata)?,
        keep_seconds: keep(request.output_expires_after, BATCH, "output_expires_after")?,
    })
}

/// Reads the query of the list of jobs.
///
/// # Errors
/// Names the value that is wrong.
pub fn page(query: &str) -> Result<PageQuery, RequestError> {
    pages(query, PAGE, MAX_PAGE)
}

fn metadata(given: Value) -> Result<Option<Vec<(String, String)>>, RequestError> {
    let given = match given {
        Value::Null => return Ok(None),
        Value::Object(given) => given,
        other => return Err(wrong_type("metadata", "an object", &other)),
    };
    if given.len() > MAX_PAIRS {
        let message = format!(
            "Invalid 'metadata': too many properties. Expected an object with at most {MAX_PAIRS} \
             properties, but got an object with {} properties instead.",
            given.len()
        );
        return Err(invalid(message).about("metadata", "object_above_max_properties"));
    }
    let mut pairs = Vec::new();
    for (key, value) in given {
        let shown: String = key.chars().take(MAX_KEY).collect();
        if key.chars().count() > MAX_KEY {
            let message = format!(
                "Invalid property name in 'metadata': '{shown}…' is too long. Expected at most {MAX_KEY} \
                 characters."
            );
            return Err(invalid(message).about("metadata", "property_name_above_max_length"));
        }
        let param = format!("metadata.{shown}");
        let Value::String(value) = value else {
            return Err(wrong_type(param, "a string", &value));
        };
        let length = value.chars().count();
        if length > MAX_VALUE {
            let message = format!(
                "Invalid '{param}': string too long. Expected a string with maximum length {MAX_VALUE}, \
                 but got a string with length {length} instead."
            );
            return Err(invalid(message).about(param, "string_above_max_length"));
        }
        pairs.push((key, value));
    }
    Ok(Some(pairs))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ENDPOINTS: &[&str] = &["/v1/chat/completions", "/v1/embeddings"];

    fn body() -> Value {
        json!({
            "input_file_id": "file-1", "endpoint": "/v1/embeddings", "completion_window": "24h",
            "metadata": {"a": "b"},
        })
    }

    fn checked(body: Value) -> Result<Checked, RequestError> {
        request(serde_json::from_value(body).unwrap(), ENDPOINTS)
    }

    #[test]
    fn a_good_request_is_taken() {
        let expected = Checked {
            input_file: "file-1".to_owned(),
            endpoint: "/v1/embeddings".to_owned(),
            metadata: Some(vec![("a".to_owned(), "b".to_owned())]),
            keep_seconds: Some(2_592_000),
        };
        assert_eq!(checked(body()).unwrap(), expected);
        let mut short = body();
        short["output_expires_after"] = json!({"anchor": "created_at", "seconds": 3600});
        short["metadata"] = Value::Null;
        let short = checked(short).unwrap();
        assert_eq!((short.keep_seconds, short.metadata), (Some(3600), None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = "x".repeat(513);
        let many: serde_json::Map<_, _> = (0..17).map(|n| (n.to_string(), json!(""))).collect();
        for (key, value, param, code, message) in [
            (
                "endpoint",
                json!("/v1/x"),
                "endpoint",
                "invalid_value",
                "Invalid value: '/v1/x'. Supported values are: '/v1/chat/completions', '/v1/embeddings'.",
            ),
            (
                "completion_window",
                json!("7d"),
                "completion_window",
                "invalid_value",
                "Invalid value: '7d'. Supported values are: '24h'.",
            ),
            (
                "input_file_id",
                Value::Null,
                "input_file_id",
                "missing_required_parameter",
                "Missing required parameter: 'input_file_id'.",
            ),
            (
                "metadata",
                json!({"tags": []}),
                "metadata.tags",
                "invalid_type",
                "Invalid type for 'metadata.tags': expected a string, but got an array instead.",
            ),
            (
                "metadata",
                json!([1]),
                "metadata",
                "invalid_type",
                "Invalid type for 'metadata': expected an object, but got an array instead.",
            ),
            (
                "metadata",
                json!({"k": long}),
                "metadata.k",
                "string_above_max_length",
                "Invalid 'metadata.k': string too long. Expected a string with maximum length 512, \
                 but got a string with length 513 instead.",
            ),
            (
                "metadata",
                Value::Object(many),
                "metadata",
                "object_above_max_properties",
                "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, \
                 but got an object with 17 properties instead.",
            ),
            (
                "output_expires_after",
                json!({"anchor": "created_at", "seconds": 1}),
                "output_expires_after.seconds",
                "integer_below_min_value",
                "Invalid 'output_expires_after.seconds': integer below minimum value. \
                 Expected a value >= 3600, but got 1 instead.",
            ),
        ] {
            let mut body = body();
            body[key] = value;
            let error = checked(body).unwrap_err();
            assert_eq!(
                (error.param.as_deref(), error.code, error.message.as_str()),
                (Some(param), Some(code), message)
            );
        }
    }
}
