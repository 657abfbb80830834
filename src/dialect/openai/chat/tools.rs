//! Which tools the model is shown, and whether it must call one.
//!
//! A choice of `none` hides them, a named choice shows that one alone.

use serde_json::Value;

use super::super::invalid;
use crate::chat::ToolDefinition;
use crate::inference::{InferenceError, MustCall};

/// Applies `tool_choice`.
///
/// # Errors
/// Refuses the name of a function that is not offered.
pub(super) fn offered(
    tools: Vec<ToolDefinition>,
    choice: &Value,
) -> Result<Vec<ToolDefinition>, InferenceError> {
    if choice == "none" {
        return Ok(Vec::new());
    }
    match choice["type"].as_str() {
        Some("function") => {
            let name = choice["function"]["name"].as_str().unwrap_or_default();
            only(tools, &[name])
        }
        Some("allowed_tools") => {
            let allowed = choice["allowed_tools"]["tools"].as_array();
            let names: Vec<&str> = allowed
                .into_iter()
                .flatten()
                .filter_map(|tool| tool["function"]["name"].as_str())
                .collect();
            only(tools, &names)
        }
        _ => Ok(tools),
    }
}

/// Whether the choice leaves the model nothing but calls. Several only if the client says that it
/// takes them (OpenAI's default): small models that may go on often do not stop.
pub(super) fn must_call(choice: &Value, parallel: Option<bool>) -> Option<MustCall> {
    if choice["type"] == "function" {
        return Some(MustCall::One);
    }
    let is_required = choice == "required" || choice["allowed_tools"]["mode"] == "required";
    is_required.then_some(match parallel {
        Some(true) => MustCall::Some,
        Some(false) | None => MustCall::One,
    })
}

fn only(
    mut tools: Vec<ToolDefinition>,
    names: &[&str],
) -> Result<Vec<ToolDefinition>, InferenceError> {
    for name in names {
        if !tools.iter().any(|tool| tool.function.name == *name) {
            return Err(invalid(format!(
                "tool_choice: function \"{name}\" is not in 'tools'"
            )));
        }
    }
    tools.retain(|tool| names.contains(&tool.function.name.as_str()));
    Ok(tools)
}
