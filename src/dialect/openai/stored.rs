//! Values in the history: metadata from clients, and JSON that is read back.

use serde_json::{Value, json};

use super::check::wrong_type;
use super::invalid;
use crate::error::{ErrorKind, RequestError};
use crate::json::deep;

/// Limits of metadata, as in OpenAI's API.
const MOST_PAIRS: usize = 16;
const LONGEST_KEY: usize = 64;
const LONGEST_VALUE: usize = 512;

/// Reads metadata: up to sixteen pairs of short texts.
///
/// # Errors
/// Says which of the limits is exceeded.
pub fn metadata(metadata: Value) -> Result<Value, RequestError> {
    let fields = match metadata {
        Value::Null => return Ok(json!({})),
        Value::Object(fields) => fields,
        other => return Err(wrong_type("metadata", "an object", &other)),
    };
    let too_long = |what: &str, most: usize| {
        let message = format!("Invalid 'metadata': {what}. Expected at most {most}.");
        Err(invalid(message).about("metadata", "invalid_value"))
    };
    if fields.len() > MOST_PAIRS {
        return too_long("too many pairs", MOST_PAIRS);
    }
    for (key, value) in &fields {
        if key.chars().count() > LONGEST_KEY {
            return too_long("a key is too long", LONGEST_KEY);
        }
        match value.as_str() {
            None => return Err(wrong_type("metadata", "texts only", value)),
            Some(text) if text.chars().count() > LONGEST_VALUE => {
                return too_long("a value is too long", LONGEST_VALUE);
            }
            Some(_) => {}
        }
    }
    Ok(Value::Object(fields))
}

/// Reads JSON that we stored.
///
/// # Errors
/// The text is not JSON: another program has changed the file.
pub fn stored(text: &str) -> Result<Value, RequestError> {
    deep::parse(text, 2 * deep::MAX_LEVELS).map_err(|error| {
        let message = format!("what was stored cannot be read: {error}");
        RequestError::new(ErrorKind::Internal, message)
    })
}
