//! The `format` field: free text, JSON, or JSON of a schema.

use serde_json::Value;

use super::InferenceError;
use super::prepare::internal;
use crate::protocol::Constraint;

/// Reads `format` (API specification §3.3).
///
/// # Errors
/// 500 with Ollama's text for anything but `"json"` and an object.
pub(super) fn parse(format: &Value) -> Result<Option<Constraint>, InferenceError> {
    match format {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if text == "json" => Ok(Some(Constraint::JsonObject)),
        Value::Object(_) => Ok(Some(Constraint::JsonSchema(format.to_string()))),
        other => Err(internal(format!(
            "invalid format: {:?}; expected \"json\" or a valid JSON Schema object",
            other.to_string()
        ))),
    }
}
