//! Constraints for answers that must be, or may be, tool calls in JSON.

use serde_json::{Map, Value, json};

use super::types::MustCall;
use crate::chat::ToolDefinition;
use crate::protocol::Constraint;

/// The most calls of one answer.
const MAX_CALLS: usize = 16;

/// The keys that models use for a call's arguments when the format does not fix one.
const ARGUMENTS: [&str; 2] = ["arguments", "parameters"];

/// The keys at the root of a JSON Schema that hold the targets of `#/…` references.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// Calls of the tools, each as `{"name": …, "arguments": {…}}`: one, or a list.
pub(super) fn constraint(tools: &[ToolDefinition], must_call: MustCall) -> Constraint {
    let mut root = Map::new();
    let calls = calls(tools, &ARGUMENTS[..1], &mut root);
    if must_call == MustCall::One {
        root.insert("anyOf".to_owned(), calls);
    } else {
        root.extend(list(calls));
    }
    Constraint::JsonSchema(Value::Object(root).to_string())
}

/// An answer that matches `form`, or instead a call by a model whose calls are bare JSON: an object, or a list
/// of objects. A form that cannot be combined with another one is used alone.
pub(super) fn or_calls(form: Constraint, tools: &[ToolDefinition], is_list: bool) -> Constraint {
    let Constraint::JsonSchema(text) = &form else {
        // A call is already an object.
        return form;
    };
    let Ok(Value::Object(mut answer)) = Constraint::schema(text) else {
        return form;
    };
    if refers_elsewhere(&answer.clone().into()) {
        return form;
    }
    let mut root = Map::new();
    let mut calls = calls(tools, &ARGUMENTS, &mut root);
    if is_list {
        calls = Value::Object(list(calls));
    } else {
        calls = json!({ "anyOf": calls });
    }
    lift_definitions(&mut answer, &mut root);
    root.insert("anyOf".to_owned(), json!([answer, calls]));
    Constraint::JsonSchema(Value::Object(root).to_string())
}

fn list(calls: Value) -> Map<String, Value> {
    let mut list = Map::new();
    list.insert("type".to_owned(), "array".into());
    list.insert("items".to_owned(), json!({ "anyOf": calls }));
    list.insert("minItems".to_owned(), 1.into());
    list.insert("maxItems".to_owned(), MAX_CALLS.into());
    list
}

/// The schemas of all calls; the definitions of the tools' schemas move to the root.
fn calls(tools: &[ToolDefinition], keys: &[&str], root: &mut Map<String, Value>) -> Value {
    let mut calls = Vec::with_capacity(tools.len() * keys.len());
    for tool in tools {
        let mut arguments = tool.function.parameters.clone();
        lift_definitions(&mut arguments, root);
        close_empty(&mut arguments);
        // A schema without a type would allow a number.
        arguments.insert("type".to_owned(), "object".into());
        calls.extend(keys.iter().map(|key| {
            json!({
                "type": "object",
                "properties": {"name": {"const": tool.function.name}, *key: arguments},
                "required": ["name", key],
                "additionalProperties": false
            })
        }));
    }
    calls.into()
}

/// A function that declares no parameters gets no arguments.
fn close_empty(arguments: &mut Map<String, Value>) {
    // Keywords that do not concern properties.
    const SILENT: [&str; 8] = [
        "type",
        "title",
        "description",
        "required",
        "$schema",
        "$id",
        "$comment",
        "default",
    ];
    if arguments.keys().all(|key| SILENT.contains(&key.as_str())) {
        arguments.insert("properties".to_owned(), json!({}));
        arguments.insert("additionalProperties".to_owned(), false.into());
        arguments.remove("required");
    }
}

fn lift_definitions(schema: &mut Map<String, Value>, root: &mut Map<String, Value>) {
    for key in DEFINITIONS {
        if let Some(Value::Object(definitions)) = schema.remove(key) {
            let known = root.entry(key).or_insert_with(|| json!({}));
            if let Some(known) = known.as_object_mut() {
                known.extend(definitions);
            }
        }
    }
}

/// Whether a schema has references that break when it is no longer the root.
fn refers_elsewhere(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields.iter().any(|(key, value)| match value {
            Value::String(to) if key == "$ref" => !DEFINITIONS.iter().any(|place| {
                to.strip_prefix("#/")
                    .is_some_and(|to| to.starts_with(place))
            }),
            value => refers_elsewhere(value),
        }),
        Value::Array(items) => items.iter().any(refers_elsewhere),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(constraint: &Constraint) -> Value {
        let Constraint::JsonSchema(text) = constraint else {
            panic!("no schema");
        };
        serde_json::from_str(text).unwrap()
    }

    fn tool() -> Vec<ToolDefinition> {
        serde_json::from_value(json!([{"function": {"name": "f"}}])).unwrap()
    }

    #[test]
    fn several_calls_are_a_list() {
        let schema = schema(&constraint(&tool(), MustCall::Some));
        assert_eq!(
            (&schema["type"], &schema["minItems"]),
            (&json!("array"), &json!(1))
        );
        let name = &schema["items"]["anyOf"][0]["properties"]["name"];
        assert_eq!(name, &json!({"const": "f"}));
    }

    #[test]
    fn a_function_without_parameters_gets_none() {
        for (parameters, is_closed) in [
            (json!({}), true),
            (json!(null), true),
            (
                json!({"type": "object", "required": [], "description": "d"}),
                true,
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
                false,
            ),
            (json!({"anyOf": [{"properties": {"a": {}}}]}), false),
        ] {
            let tools = json!([{"function": {"name": "f", "parameters": parameters}}]);
            let tools: Vec<ToolDefinition> = serde_json::from_value(tools).unwrap();
            let schema = schema(&constraint(&tools, MustCall::One));
            let arguments = &schema["anyOf"][0]["properties"]["arguments"];
            let closed = arguments["additionalProperties"] == false;
            assert_eq!(closed, is_closed, "{parameters}");
        }
    }

    #[test]
    fn an_answer_may_be_of_its_form_or_a_call() {
        let form = r##"{"type": "array", "items": {"$ref": "#/$defs/t"}, "$defs": {"t": {}}}"##;
        let schema = schema(&or_calls(
            Constraint::JsonSchema(form.to_owned()),
            &tool(),
            false,
        ));
        assert_eq!(schema["$defs"], json!({"t": {}}));
        assert_eq!(
            schema["anyOf"][0],
            json!({"type": "array", "items": {"$ref": "#/$defs/t"}})
        );
        let required = |index: usize| &schema["anyOf"][1]["anyOf"][index]["required"];
        assert_eq!(required(0), &json!(["name", "arguments"]));
        assert_eq!(required(1), &json!(["name", "parameters"]));
    }

    #[test]
    fn a_form_that_refers_to_itself_stays_alone() {
        let form = r##"{"type": "object", "properties": {"next": {"$ref": "#"}}}"##;
        let form = Constraint::JsonSchema(form.to_owned());
        assert_eq!(or_calls(form.clone(), &tool(), false), form);
        assert_eq!(
            or_calls(Constraint::JsonObject, &tool(), false),
            Constraint::JsonObject
        );
    }

    #[test]
    fn each_tool_is_an_alternative_and_definitions_stay_at_the_root() {
        let tools = json!([
            {"function": {"name": "a"}},
            {"function": {"name": "b", "parameters": {
                "properties": {"x": {"$ref": "#/$defs/t"}}, "$defs": {"t": {"type": "string"}}}}}
        ]);
        let tools: Vec<ToolDefinition> = serde_json::from_value(tools).unwrap();
        let schema = schema(&constraint(&tools, MustCall::One));
        assert_eq!(schema["$defs"], json!({"t": {"type": "string"}}));
        let arguments = |index: usize| &schema["anyOf"][index]["properties"]["arguments"];
        let nothing = json!({"type": "object", "properties": {}, "additionalProperties": false});
        assert_eq!(arguments(0), &nothing);
        let second = json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/t"}}});
        assert_eq!(arguments(1), &second);
    }
}
