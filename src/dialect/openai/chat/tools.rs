//! Which tools the model gets, and whether it must call one.
//!
//! The choice `none` hides all tools; a named choice leaves only that one.

use serde_json::Value;

use super::super::check::{missing, unknown, wrong_type};
use super::super::invalid;
use crate::chat::{ToolDefinition, ToolFunction};
use crate::error::RequestError;
use crate::inference::MustCall;

const WORDS: &str = "'none', 'auto', and 'required'";

/// The fields of a request that concern tools.
#[derive(Debug, Default)]
pub(in crate::dialect::openai) struct Asked {
    pub(in crate::dialect::openai) tools: Vec<ToolDefinition>,
    pub(in crate::dialect::openai) choice: Value,
    /// Whether one answer may have several calls; `None` = not given.
    pub(in crate::dialect::openai) parallel: Option<bool>,
}

/// The tools that the model gets.
#[derive(Debug, Default)]
pub(in crate::dialect::openai) struct Offer {
    pub(in crate::dialect::openai) tools: Vec<ToolDefinition>,
    pub(in crate::dialect::openai) must_call: Option<MustCall>,
    pub(in crate::dialect::openai) one_call: bool,
}

/// A parsed `tool_choice`.
enum Choice<'a> {
    Free,
    None,
    /// At least one of the tools.
    Required,
    /// This one.
    Function(&'a str),
    Allowed {
        names: Vec<&'a str>,
        is_required: bool,
    },
}

impl Asked {
    /// Converts the deprecated `functions` and `function_call`.
    ///
    /// # Errors
    /// Refuses an invalid choice.
    pub(in crate::dialect::openai) fn of_functions(
        functions: Vec<ToolFunction>,
        choice: &Value,
    ) -> Result<Self, RequestError> {
        const PARAM: &str = "function_call";
        let choice = match choice {
            Value::Null => Value::Null,
            Value::String(word) if word == "none" || word == "auto" => choice.clone(),
            Value::String(word) => return Err(unknown(PARAM, word, "'none' and 'auto'")),
            Value::Object(fields) => {
                let name = fields.get("name").and_then(Value::as_str);
                let name = name.ok_or_else(|| missing("function_call.name"))?;
                if !functions.iter().any(|function| function.name == name) {
                    return Err(not_offered(PARAM, name, "functions"));
                }
                serde_json::json!({"type": "function", "function": {"name": name}})
            }
            other => return Err(wrong_type(PARAM, "a string or an object", other)),
        };
        if let Some(index) = functions
            .iter()
            .position(|function| function.name.is_empty())
        {
            return Err(missing(format!("functions[{index}].name")));
        }
        let tools = functions.into_iter().map(|function| ToolDefinition {
            kind: "function".to_owned(),
            items: None,
            function,
        });
        Ok(Self {
            tools: tools.collect(),
            choice,
            parallel: Some(false),
        })
    }

    /// Applies the choice.
    ///
    /// # Errors
    /// Refuses tools that are not functions or have no name, and a choice that is invalid or names a function that is
    /// not offered.
    pub(in crate::dialect::openai) fn offer(self) -> Result<Offer, RequestError> {
        check(&self.tools)?;
        let choice = read(&self.choice)?;
        if self.tools.is_empty() && !self.choice.is_null() && !matches!(choice, Choice::None) {
            let message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.";
            return Err(invalid(message).about("tool_choice", "invalid_value"));
        }
        let required = match self.parallel {
            Some(true) => MustCall::Some,
            // Several calls only if the client asks for them explicitly (although that is OpenAI's default), since
            // small models
            // often do not stop calling.
            Some(false) | None => MustCall::One,
        };
        let (tools, must_call) = match choice {
            Choice::None => (Vec::new(), None),
            Choice::Free => (self.tools, None),
            Choice::Required => (self.tools, Some(required)),
            Choice::Function(name) => (only(self.tools, &[name])?, Some(MustCall::One)),
            Choice::Allowed { names, is_required } => {
                (only(self.tools, &names)?, is_required.then_some(required))
            }
        };
        Ok(Offer {
            tools,
            must_call,
            one_call: self.parallel == Some(false),
        })
    }
}

fn check(tools: &[ToolDefinition]) -> Result<(), RequestError> {
    for (index, tool) in tools.iter().enumerate() {
        // Ollama's clients may omit the type.
        if !["", "function"].contains(&tool.kind.as_str()) {
            let param = format!("tools[{index}].type");
            return Err(unknown(param, &tool.kind, "'function'"));
        }
        if tool.function.name.is_empty() {
            return Err(missing(format!("tools[{index}].function.name")));
        }
    }
    Ok(())
}

fn read(choice: &Value) -> Result<Choice<'_>, RequestError> {
    const PARAM: &str = "tool_choice";
    match choice {
        Value::Null => return Ok(Choice::Free),
        Value::String(word) => {
            return match word.as_str() {
                "none" => Ok(Choice::None),
                "auto" => Ok(Choice::Free),
                "required" => Ok(Choice::Required),
                word => Err(unknown(PARAM, word, WORDS)),
            };
        }
        Value::Object(_) => {}
        other => return Err(wrong_type(PARAM, "a string or an object", other)),
    }
    match choice["type"].as_str() {
        Some("function") => {
            let name = choice["function"]["name"].as_str();
            let name = name.ok_or_else(|| missing("tool_choice.function.name"))?;
            Ok(Choice::Function(name))
        }
        Some("allowed_tools") => {
            let allowed = &choice["allowed_tools"];
            let is_required = match &allowed["mode"] {
                Value::Null => false,
                mode if mode == "auto" => false,
                mode if mode == "required" => true,
                mode => {
                    let mode = mode.to_string();
                    let param = "tool_choice.allowed_tools.mode";
                    return Err(unknown(param, &mode, "'auto' and 'required'"));
                }
            };
            let tools = allowed["tools"]
                .as_array()
                .filter(|tools| !tools.is_empty());
            let tools = tools.ok_or_else(|| missing("tool_choice.allowed_tools.tools"))?;
            let names = tools.iter().zip(0..).map(|(tool, index)| {
                let name = tool["function"]["name"].as_str();
                name.ok_or_else(|| {
                    missing(format!(
                        "tool_choice.allowed_tools.tools[{index}].function.name"
                    ))
                })
            });
            Ok(Choice::Allowed {
                names: names.collect::<Result<_, _>>()?,
                is_required,
            })
        }
        Some(kind) => Err(unknown(
            "tool_choice.type",
            kind,
            "'function' and 'allowed_tools'",
        )),
        None => Err(missing("tool_choice.type")),
    }
}

fn only(
    mut tools: Vec<ToolDefinition>,
    names: &[&str],
) -> Result<Vec<ToolDefinition>, RequestError> {
    for name in names {
        if !tools.iter().any(|tool| tool.function.name == *name) {
            return Err(not_offered("tool_choice", name, "tools"));
        }
    }
    tools.retain(|tool| names.contains(&tool.function.name.as_str()));
    Ok(tools)
}

fn not_offered(param: &'static str, name: &str, place: &str) -> RequestError {
    let message = format!("{param}: function \"{name}\" is not in '{place}'");
    invalid(message).about(param, "invalid_value")
}
