//! Tools of a request: its functions go to the model; tools that would run at OpenAI are skipped.

use serde_json::{Map, Value, json};

use super::super::chat::tools::{Asked, Offer};
use super::super::check::{missing, wrong_type};
use crate::chat::{ToolDefinition, ToolFunction};
use crate::error::RequestError;

/// The functions of namespaces, as namespace and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    /// Collects the namespaces from a request's tools.
    pub(super) fn of(tools: &[Value]) -> Self {
        offer(tools, &Value::Null, None).map_or_else(|_| Self::default(), |(_, names)| names)
    }

    /// The namespace and the name of a function that a model calls.
    pub(super) fn split(&self, called: &str) -> Option<(&str, &str)> {
        let known = self
            .0
            .iter()
            .find(|(namespace, name)| called == full_name(namespace, name));
        known.map(|(namespace, name)| (namespace.as_str(), name.as_str()))
    }
}

/// The name under which a model sees a function of a namespace.
pub(super) fn full_name(namespace: &str, name: &str) -> String {
    let has_it = name
        .strip_prefix(namespace)
        .is_some_and(|rest| rest.starts_with('.'));
    if has_it {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

/// The part of a request's tools that the model gets.
///
/// # Errors
/// Refuses functions without a name, and an invalid choice.
pub(super) fn offer(
    tools: &[Value],
    choice: &Value,
    parallel: Option<bool>,
) -> Result<(Offer, Names), RequestError> {
    let mut functions = Vec::new();
    let mut names = Names::default();
    for (index, tool) in tools.iter().enumerate() {
        let param = format!("tools[{index}]");
        match tool["type"].as_str() {
            Some("function") => functions.push(function(tool, &param)?),
            Some("namespace") => {
                let namespace = tool["name"].as_str().unwrap_or_default();
                let members = tool["tools"].as_array();
                for member in members.map(Vec::as_slice).unwrap_or_default() {
                    if member["type"] != "function" {
                        continue;
                    }
                    let mut member = function(member, &param)?;
                    let name = std::mem::take(&mut member.function.name);
                    member.function.name = full_name(namespace, &name);
                    names.0.push((namespace.to_owned(), name));
                    functions.push(member);
                }
            }
            Some(_) => {}
            None if tool.is_object() => return Err(missing(format!("{param}.type"))),
            None => return Err(wrong_type(param, "an object", tool)),
        }
    }
    let choice = if functions.is_empty() && (!tools.is_empty() || choice == "auto") {
        // None of the tools can be called here.
        Value::Null
    } else {
        self::choice(choice)
    };
    let asked = Asked {
        tools: functions,
        choice,
        parallel,
    };
    Ok((asked.offer()?, names))
}

fn function(tool: &Value, param: &str) -> Result<ToolDefinition, RequestError> {
    let name = tool["name"].as_str().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| missing(format!("{param}.name")))?;
    let parameters = match &tool["parameters"] {
        Value::Null => Map::new(),
        Value::Object(parameters) => parameters.clone(),
        other => {
            return Err(wrong_type(
                format!("{param}.parameters"),
                "an object",
                other,
            ));
        }
    };
    Ok(ToolDefinition {
        kind: "function".to_owned(),
        items: None,
        function: ToolFunction {
            name: name.to_owned(),
            description: tool["description"].as_str().unwrap_or_default().to_owned(),
            parameters,
        },
    })
}

/// The choice in the format of chat completions. A choice that names a skipped tool becomes no choice.
fn choice(choice: &Value) -> Value {
    let named = |tool: &Value| {
        let name = match (tool["namespace"].as_str(), tool["name"].as_str()) {
            (Some(namespace), Some(name)) => full_name(namespace, name).into(),
            _ => tool["name"].clone(),
        };
        json!({"type": "function", "function": {"name": name}})
    };
    match choice["type"].as_str() {
        Some("function") => named(choice),
        Some("allowed_tools") => {
            let tools = choice["tools"].as_array().map(Vec::as_slice);
            let tools = tools.unwrap_or_default();
            let functions: Vec<_> = tools
                .iter()
                .filter(|tool| tool["type"] == "function")
                .map(named)
                .collect();
            if functions.is_empty() && !tools.is_empty() {
                return "none".into();
            }
            let mode = choice["mode"].clone();
            json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": functions}})
        }
        Some(_) => Value::Null,
        None => choice.clone(),
    }
}
