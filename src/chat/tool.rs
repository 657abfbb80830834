//! Tools: what a client offers and what a model calls.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::null_is_default;

/// A function that the client offers to the model.
///
/// Unlike Ollama, unknown JSON Schema keywords of the parameters are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ToolDefinition {
    /// Always `function` so far.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Value>,
    pub function: ToolFunction,
}

/// Name, description and parameters of an offered function.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ToolFunction {
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub description: String,
    /// JSON Schema of the arguments, in the order the client sent it.
    #[serde(deserialize_with = "null_is_default")]
    pub parameters: Map<String, Value>,
}

/// A call that a model makes, or made earlier in a history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ToolCall {
    /// `call_` and eight characters; empty if the API has no ids.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub id: String,
    pub function: ToolCallFunction,
}

/// A part of an incomplete call. The whole call comes after its last part, unless the answer ends before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallPart {
    pub index: u32,
    pub id: String,
    /// In the first part of a call only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A piece of the JSON text.
    pub arguments: String,
}

/// The called function with its arguments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ToolCallFunction {
    /// Counts from zero within one answer.
    #[serde(deserialize_with = "null_is_default")]
    pub index: u32,
    pub name: String,
    /// Arguments in the order the model wrote them.
    #[serde(deserialize_with = "null_is_default")]
    pub arguments: Map<String, Value>,
}
