//! An answer that must be a tool call: the constraint that makes it one.

use serde_json::{Map, Value, json};

use crate::chat::ToolDefinition;
use crate::protocol::Constraint;

/// Where JSON Schema keeps what it refers to by `#/…`: from the root on.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// A call of one of the tools, as `{"name": …, "arguments": {…}}`.
pub(super) fn constraint(tools: &[ToolDefinition]) -> Constraint {
    let mut root = Map::new();
    let calls: Vec<Value> = tools.iter().map(|tool| call(tool, &mut root)).collect();
    root.insert("anyOf".to_owned(), calls.into());
    Constraint::JsonSchema(Value::Object(root).to_string())
}

fn call(tool: &ToolDefinition, root: &mut Map<String, Value>) -> Value {
    let mut arguments = tool.function.parameters.clone();
    for key in DEFINITIONS {
        if let Some(Value::Object(definitions)) = arguments.remove(key) {
            let known = root.entry(key).or_insert_with(|| json!({}));
            if let Some(known) = known.as_object_mut() {
                known.extend(definitions);
            }
        }
    }
    // A schema without a type would allow a number.
    arguments.insert("type".to_owned(), "object".into());
    json!({
        "type": "object",
        "properties": {"name": {"const": tool.function.name}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_is_an_alternative_and_definitions_stay_at_the_root() {
        let tools = json!([
            {"function": {"name": "a"}},
            {"function": {"name": "b", "parameters": {
                "properties": {"x": {"$ref": "#/$defs/t"}}, "$defs": {"t": {"type": "string"}}}}}
        ]);
        let tools: Vec<ToolDefinition> = serde_json::from_value(tools).unwrap();
        let Constraint::JsonSchema(text) = constraint(&tools) else {
            panic!("no schema");
        };
        let schema: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(schema["$defs"], json!({"t": {"type": "string"}}));
        let arguments = |index: usize| &schema["anyOf"][index]["properties"]["arguments"];
        assert_eq!(arguments(0), &json!({"type": "object"}));
        let second = json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/t"}}});
        assert_eq!(arguments(1), &second);
    }
}
