//! Which tools the model is shown, and whether it must call one.
//!
//! A choice of `none` hides them, a named choice shows that one alone.

use serde_json::Value;

use super::super::invalid;
use crate::chat::ToolDefinition;
use crate::inference::InferenceError;

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

/// Whether the choice leaves the model nothing but a call.
pub(super) fn must_call(choice: &Value) -> bool {
    choice == "required"
        || choice["type"] == "function"
        || choice["allowed_tools"]["mode"] == "required"
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
