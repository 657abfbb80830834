//! Adds to the schemas what the wire types do not say by themselves.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Where references point to.
const PLACE: &str = "#/components/schemas/";

/// Completes the schemas of a document. `always` has the fields that are always present, by schema.
pub(super) fn finish<'a>(
    document: &mut Value,
    always: impl Iterator<Item = (&'a String, &'a Vec<String>)>,
) {
    let taken = taken(document);
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else {
        return;
    };
    for (name, schema) in schemas.iter_mut() {
        drop_defaults(schema, !taken.contains(name));
    }
    for (name, fields) in always {
        let Some(schema) = schemas.get_mut(name).map(own) else {
            continue;
        };
        let own_field = |field: &&String| schema["properties"].get(field.as_str()).is_some();
        let fields: Vec<&String> = fields.iter().filter(own_field).collect();
        if !fields.is_empty() {
            schema["required"] = json!(fields);
        }
    }
    // The variants of an untagged enum do not exclude each other.
    let events = schemas.get_mut("responses.EventBody");
    if let Some(events) = events.and_then(Value::as_object_mut)
        && let Some(variants) = events.remove("oneOf")
    {
        events.insert("anyOf".to_owned(), variants);
    }
    // Serde writes the tag of a struct, which utoipa does not know about.
    if let Some(text) = schemas.get_mut("OutputText") {
        text["properties"]["type"] = json!({"type": "string", "enum": ["output_text"]});
        if let Some(required) = text["required"].as_array_mut() {
            required.push("type".into());
        }
    }
}

/// The part with the schema's own fields, if it also includes other schemas.
fn own(schema: &mut Value) -> &mut Value {
    let parts = schema.get("allOf").and_then(Value::as_array);
    let at = parts.and_then(|parts| {
        parts
            .iter()
            .position(|part| part.get("properties").is_some())
    });
    match at {
        Some(at) => &mut schema["allOf"][at],
        None => schema,
    }
}

/// Removes defaults that carry no information; in answers, all defaults.
fn drop_defaults(schema: &mut Value, is_answer: bool) {
    match schema {
        Value::Object(fields) => {
            let says_nothing = |value: &Value| match value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::Object(fields) => fields.values().all(Value::is_null) || fields.is_empty(),
                _ => false,
            };
            // A property of that name is a schema.
            let default = fields
                .get("default")
                .filter(|value| value.get("type").is_none());
            if default.is_some_and(|value| is_answer || says_nothing(value)) {
                fields.remove("default");
            }
            for value in fields.values_mut() {
                drop_defaults(value, is_answer);
            }
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|value| drop_defaults(value, is_answer)),
        _ => {}
    }
}

/// Names of the schemas that requests consist of.
fn taken(document: &Value) -> BTreeSet<String> {
    let mut open = Vec::new();
    let paths = document["paths"].as_object().into_iter().flatten();
    for operation in paths.filter_map(|(_, path)| path.as_object()).flatten() {
        open.extend(references(&operation.1["requestBody"]));
    }
    reached(document, open)
}

/// These names, and those of all schemas that they refer to, directly or indirectly.
pub(super) fn reached(document: &Value, mut open: Vec<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(references(&document["components"]["schemas"][&name]));
        }
    }
    found
}

/// Names of the schemas that a part of the document refers to.
pub(super) fn references(part: &Value) -> Vec<String> {
    match part {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str);
            let own = own.and_then(|place| place.strip_prefix(PLACE));
            let own = own.map(str::to_owned).into_iter();
            own.chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(list) => list.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
