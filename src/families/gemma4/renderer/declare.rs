//! Declarations of tools: JSON Schema in Gemma 4's own syntax.
//!
//! Types are written in capitals and come last; which other keywords are written depends on the type.

use serde_json::{Map, Value};

use super::{DIALECT, QUOTE};
use crate::chat::typed::{Properties, TypedProperty, TypedTool};
use crate::families::shared::prompt::Quoted;
use crate::json::go;

/// Keywords that are not names of properties, even where properties are expected.
const KEYWORDS: [&str; 5] = ["description", "type", "properties", "required", "nullable"];

pub(super) fn declaration(tool: &TypedTool) -> String {
    let function = &tool.function;
    let parameters = &function.parameters;
    let mut parts = Vec::new();
    let properties = parameters.properties.as_ref();
    if let Some(properties) = properties.filter(|properties| !properties.is_empty()) {
        let schema = top_level(properties);
        parts.push(format!("properties:{{{}}}", properties_text(&schema)));
    }
    if !parameters.required.is_empty() {
        parts.push(format!("required:[{}]", quoted_list(&parameters.required)));
    }
    if !parameters.kind.is_empty() {
        parts.push(format!("type:{}", quoted(&parameters.kind.to_uppercase())));
    }
    let mut text = format!(
        "<|tool>declaration:{}{{description:{}",
        function.name,
        quoted(&function.description)
    );
    if properties.is_some() || !parameters.kind.is_empty() {
        text += &format!(",parameters:{{{}}}", parts.join(","));
    }
    text + "}<tool|>"
}

fn quoted(text: &str) -> String {
    format!("{QUOTE}{text}{QUOTE}")
}

fn quoted_list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    texts.join(",")
}

/// Properties as a schema; several types become one text, as the original template prints them.
fn top_level(properties: &Properties) -> Map<String, Value> {
    let entries = properties.iter().map(|(name, property)| {
        let kinds = kinds(property);
        let kind = match kinds.as_slice() {
            [] => None,
            [kind] => Some(kind.clone()),
            kinds => {
                let kinds = kinds
                    .iter()
                    .map(|kind| format!("'{}'", kind.to_uppercase()));
                Some(format!("[{}]", kinds.collect::<Vec<_>>().join(", ")))
            }
        };
        let nested = property.properties.as_ref().map(top_level);
        let schema = schema(property, kind.map(Value::from), nested);
        (name.clone(), Value::Object(schema))
    });
    entries.collect()
}

fn schema(
    property: &TypedProperty,
    kind: Option<Value>,
    nested: Option<Map<String, Value>>,
) -> Map<String, Value> {
    let mut schema = Map::new();
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            schema.insert(key.to_owned(), value);
        }
    };
    let some = |is_some: bool, value: Value| is_some.then_some(value);
    add("type", kind);
    add(
        "description",
        some(
            !property.description.is_empty(),
            property.description.as_str().into(),
        ),
    );
    add(
        "enum",
        some(!property.values.is_empty(), property.values.clone().into()),
    );
    add("items", property.items.clone());
    add("properties", nested.map(Value::Object));
    add(
        "required",
        some(
            !property.required.is_empty(),
            property.required.clone().into(),
        ),
    );
    schema
}

/// The types of a property, including alternatives that are nothing but types.
fn kinds(property: &TypedProperty) -> Vec<String> {
    if !property.kinds.is_empty() {
        return property.kinds.clone();
    }
    let mut kinds: Vec<String> = Vec::new();
    for part in &property.any_of {
        let bare = TypedProperty {
            kinds: part.kinds.clone(),
            ..TypedProperty::default()
        };
        if part.kinds.is_empty() || *part != bare {
            return Vec::new();
        }
        for kind in &part.kinds {
            if !kinds.contains(kind) {
                kinds.push(kind.clone());
            }
        }
    }
    kinds
}

fn properties_text(properties: &Map<String, Value>) -> String {
    let sorted = go::sorted(properties);
    let entries = sorted.iter().filter_map(|(name, schema)| {
        let schema = schema.as_object()?;
        let is_name = !KEYWORDS.contains(&name.as_str());
        is_name.then(|| format!("{name}:{{{}}}", property_text(schema)))
    });
    entries.collect::<Vec<_>>().join(",")
}

fn property_text(schema: &Map<String, Value>) -> String {
    let mut parts = Vec::new();
    let description = schema.get("description").and_then(Value::as_str);
    if let Some(description) = description.filter(|text| !text.is_empty()) {
        parts.push(format!("description:{}", quoted(description)));
    }
    let kinds = type_names(schema.get("type"));
    let kind = kinds.first().map_or("", String::as_str);
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    let map = |key: &str| schema.get(key).and_then(Value::as_object);
    if let Some(values) = list("enum").filter(|values| kind == "STRING" && !values.is_empty()) {
        let values = values.iter().map(|value| match value {
            Value::String(text) => quoted(text),
            other => quoted(
                &Quoted {
                    quote: "",
                    ..DIALECT
                }
                .value(other),
            ),
        });
        parts.push(format!("enum:[{}]", values.collect::<Vec<_>>().join(",")));
    }
    if let Some(items) = map("items").filter(|items| kind == "ARRAY" && !items.is_empty()) {
        parts.push(format!("items:{{{}}}", items_text(items)));
    }
    if schema.get("nullable") == Some(&Value::Bool(true)) {
        parts.push("nullable:true".to_owned());
    }
    if kind == "OBJECT" {
        let nested = map("properties").unwrap_or(schema);
        parts.push(format!("properties:{{{}}}", properties_text(nested)));
        let required = strings(schema.get("required"));
        if !required.is_empty() {
            parts.push(format!("required:[{}]", quoted_list(&required)));
        }
    }
    parts.extend(type_text(&kinds));
    parts.join(",")
}

fn type_text(kinds: &[String]) -> Option<String> {
    match kinds {
        [] => None,
        [kind] => Some(format!("type:{}", quoted(kind))),
        kinds => Some(format!("type:[{}]", quoted_list(kinds))),
    }
}

fn items_text(items: &Map<String, Value>) -> String {
    let sorted = go::sorted(items);
    let parts = sorted.iter().filter(|(_, value)| !value.is_null());
    let parts = parts.map(|(key, value)| match key.as_str() {
        "properties" => {
            let inner = value.as_object().map(properties_text);
            format!("properties:{{{}}}", inner.unwrap_or_default())
        }
        "required" => format!("required:[{}]", quoted_list(&strings(Some(value)))),
        "type" => type_text(&type_names(Some(value))).unwrap_or_default(),
        key => format!("{key}:{}", schema_value(value)),
    });
    parts.collect::<Vec<_>>().join(",")
}

/// Like [`Quoted::value`], with quotes around keys, too.
fn schema_value(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(schema_value).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(map) => {
            let map = go::sorted(map);
            let entries = map
                .iter()
                .map(|(key, value)| format!("{}:{}", quoted(key), schema_value(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        other => DIALECT.value(other),
    }
}

fn type_names(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(kind)) => vec![kind.to_uppercase()],
        other => strings(other)
            .iter()
            .map(|kind| kind.to_uppercase())
            .collect(),
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}
