//! Converts messages and tools to values with the Go types that templates expect.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::chat::typed::{
    Properties, Spelling, TypedFunction, TypedParameters, TypedProperty, TypedTool, properties_json,
};
use crate::chat::{Message, ToolCall, ToolDefinition};
use crate::json::go;
use crate::template::{Content, Typed, Value};

/// A struct; a field that it does not have is an error.
fn fields(type_name: &'static str, fields: Vec<(&'static str, Value)>) -> Typed {
    Typed {
        type_name,
        content: Content::Fields(fields),
        text: None,
        json: None,
    }
}

fn typed(value: Typed) -> Value {
    Value::Typed(Arc::new(value))
}

fn optional(value: Option<&Json>) -> Value {
    value.map_or(Value::Nil, Value::from)
}

fn strings(list: &[String]) -> Value {
    Value::list(list.iter().map(|text| text.as_str().into()).collect())
}

/// A list that prints as its JSON.
fn json_list(items: Vec<Value>, json: String) -> Value {
    typed(Typed {
        type_name: "template.templateTools",
        content: Content::Plain(Value::list(items)),
        text: Some(json.clone()),
        json: Some(json),
    })
}

pub(super) fn messages(messages: &[Message]) -> Value {
    Value::list(messages.iter().map(message).collect())
}

fn message(message: &Message) -> Value {
    let images = message.images.iter().map(|_| Value::Nil).collect();
    typed(fields(
        "*template.templateMessage",
        vec![
            ("Role", message.role.as_str().into()),
            ("Content", message.content.as_str().into()),
            ("Thinking", message.thinking.as_str().into()),
            ("Images", Value::list(images)),
            (
                "ToolCalls",
                Value::list(message.tool_calls.iter().map(tool_call).collect()),
            ),
            ("ToolName", message.tool_name.as_str().into()),
            ("ToolCallID", message.tool_call_id.as_str().into()),
        ],
    ))
}

fn tool_call(call: &ToolCall) -> Value {
    let function = fields(
        "template.templateToolCallFunction",
        vec![
            ("Index", Value::Int(call.function.index.into())),
            ("Name", call.function.name.as_str().into()),
            ("Arguments", arguments(&call.function.arguments)),
        ],
    );
    typed(fields(
        "template.templateToolCall",
        vec![
            ("ID", call.id.as_str().into()),
            ("Function", typed(function)),
        ],
    ))
}

/// A map that prints as JSON, sorted by key.
fn arguments(map: &Map<String, Json>) -> Value {
    let json = go::to_string(&Json::Object(go::sorted(map)));
    typed(Typed {
        type_name: "template.templateArgs",
        content: Content::Plain((&Json::Object(map.clone())).into()),
        text: Some(json.clone()),
        json: Some(json),
    })
}

pub(super) fn tools(tools: &[ToolDefinition]) -> Value {
    if tools.is_empty() {
        return Value::list(Vec::new());
    }
    let typed_tools: Vec<TypedTool> = tools.iter().map(TypedTool::from).collect();
    let json: Vec<String> = typed_tools
        .iter()
        .map(|tool| tool.json(Spelling::Sorted))
        .collect();
    let json = format!("[{}]", json.join(","));
    json_list(typed_tools.iter().map(tool).collect(), json)
}

fn tool(tool: &TypedTool) -> Value {
    let json = tool.json(Spelling::Sorted);
    typed(Typed {
        text: Some(json.clone()),
        json: Some(json),
        ..fields(
            "template.templateTool",
            vec![
                ("Type", tool.kind.as_str().into()),
                ("Items", optional(tool.items.as_ref())),
                ("Function", function(&tool.function)),
            ],
        )
    })
}

fn function(function: &TypedFunction) -> Value {
    typed(Typed {
        json: Some(function.json(Spelling::Sorted)),
        ..fields(
            "template.templateToolFunction",
            vec![
                ("Name", function.name.as_str().into()),
                ("Description", function.description.as_str().into()),
                ("Parameters", parameters(&function.parameters)),
            ],
        )
    })
}

fn parameters(parameters: &TypedParameters) -> Value {
    let none = Properties::new();
    let properties = parameters.properties.as_ref().unwrap_or(&none);
    typed(Typed {
        json: Some(parameters.json(Spelling::Sorted)),
        ..fields(
            "template.templateToolFunctionParameters",
            vec![
                ("Type", parameters.kind.as_str().into()),
                ("Defs", optional(parameters.defs.as_ref())),
                ("Items", optional(parameters.items.as_ref())),
                ("Required", strings(&parameters.required)),
                ("Properties", property_map(properties)),
            ],
        )
    })
}

/// A map that prints as JSON, sorted by key.
fn property_map(properties: &Properties) -> Value {
    let json = properties_json(properties, Spelling::Sorted);
    let entries = properties.iter();
    let map = Value::map(entries.map(|(name, part)| (name.clone(), property(part))));
    typed(Typed {
        type_name: "template.templateProperties",
        content: Content::Plain(map),
        text: Some(json.clone()),
        json: Some(json),
    })
}

fn property(property: &TypedProperty) -> Value {
    let kinds = Typed {
        type_name: "api.PropertyType",
        content: Content::Plain(strings(&property.kinds)),
        text: Some(property.kind_text()),
        json: None,
    };
    let any_of = property.any_of.iter().map(self::property).collect();
    let nested = property.properties.as_ref();
    typed(Typed {
        json: Some(property.json(Spelling::Sorted)),
        ..fields(
            "api.ToolProperty",
            vec![
                ("AnyOf", Value::list(any_of)),
                ("Type", typed(kinds)),
                ("Items", optional(property.items.as_ref())),
                ("Description", property.description.as_str().into()),
                (
                    "Enum",
                    Value::list(property.values.iter().map(Value::from).collect()),
                ),
                ("Properties", nested.map_or(Value::Nil, property_map)),
                ("Required", strings(&property.required)),
            ],
        )
    })
}
