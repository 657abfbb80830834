//! Which tools the model gets, and whether it must call one.

use std::collections::HashSet;

use super::invalid;
use crate::api::anthropic::{Tool, ToolChoice};
use crate::chat::{ToolDefinition, ToolFunction};
use crate::error::RequestError;
use crate::inference::MustCall;

/// The tools that the model gets.
#[derive(Debug, Default)]
pub(super) struct Offer {
    pub(super) tools: Vec<ToolDefinition>,
    pub(super) must_call: Option<MustCall>,
    pub(super) one_call: bool,
}

/// Applies the choice to the tools. `referenced` holds the names of tools that the conversation has loaded.
///
/// Tools whose schema only Anthropic knows (web search, a computer, …) are skipped, since the server cannot run them.
/// Tools that are to be loaded later stay hidden until then, unless there are no others: then nothing could load them.
///
/// # Errors
/// Refuses tools without a name, and a choice that is invalid or names a tool that is not offered.
pub(super) fn offer(
    tools: Vec<Tool>,
    choice: Option<ToolChoice>,
    referenced: &HashSet<String>,
) -> Result<Offer, RequestError> {
    if let Some(index) = tools.iter().position(|tool| tool.name.is_empty()) {
        return Err(invalid(&format!("tools.{index}.name"), "Field required"));
    }
    let mut tools: Vec<Tool> = tools
        .into_iter()
        .filter(|tool| matches!(tool.kind.as_str(), "" | "custom") || tool.input_schema.is_some())
        .collect();
    let is_shown = |tool: &Tool| !tool.defer_loading || referenced.contains(&tool.name);
    if tools.iter().any(is_shown) {
        tools.retain(is_shown);
    }
    let mut offer = Offer::default();
    if let Some(choice) = choice {
        offer.one_call = choice.disable_parallel_tool_use;
        match choice.kind.as_str() {
            "auto" | "" => {}
            "none" => tools.clear(),
            kind @ ("any" | "tool") => {
                if kind == "tool" {
                    if !tools.iter().any(|tool| tool.name == choice.name) {
                        let what = format!("Tool '{}' not found in provided tools", choice.name);
                        return Err(invalid("tool_choice.name", what));
                    }
                    tools.retain(|tool| tool.name == choice.name);
                }
                if tools.is_empty() {
                    let what = "may only be specified while providing tools";
                    return Err(invalid("tool_choice", what));
                }
                // Several calls only if there is no choice: small models often do not stop calling.
                offer.must_call = Some(MustCall::One);
            }
            _ => {
                let what = "Input should be 'auto', 'any', 'tool' or 'none'";
                return Err(invalid("tool_choice.type", what));
            }
        }
    }
    offer.tools = tools.into_iter().map(definition).collect();
    Ok(offer)
}

fn definition(tool: Tool) -> ToolDefinition {
    ToolDefinition {
        kind: "function".to_owned(),
        items: None,
        function: ToolFunction {
            name: tool.name,
            description: tool.description,
            parameters: tool.input_schema.unwrap_or_default(),
        },
    }
}
