//! Items in the form in which they are stored and listed: all with an id and the keys that typed clients require.

use serde_json::{Map, Value, json};

use super::base_of;
use crate::api::openai::responses::{ItemList, OutputItem, Status};
use crate::history::Item;

/// The ids of items that a request only refers to.
pub fn referenced(input: &Value) -> Vec<String> {
    let items = input.as_array().map(Vec::as_slice).unwrap_or_default();
    let ids = items.iter().filter_map(reference);
    ids.map(str::to_owned).collect()
}

/// The id of an item that is a reference; its type may be missing.
pub(super) fn reference(item: &Value) -> Option<&str> {
    let is_reference = match &item["type"] {
        Value::String(kind) => kind == "item_reference",
        Value::Null => item["role"].is_null(),
        _ => false,
    };
    item["id"].as_str().filter(|_| is_reference)
}

/// The items of `input`, which may also be a text. Missing ids are made from `base`. References are replaced by the
/// items that they refer to. `None`: the input is neither a text nor a list.
pub(super) fn listed(input: Value, resolved: &mut Map<String, Value>) -> Option<Vec<Value>> {
    match input {
        Value::Null => Some(Vec::new()),
        Value::String(text) if text.is_empty() => Some(Vec::new()),
        Value::String(text) => Some(vec![json!({"role": "user", "content": text})]),
        Value::Array(items) => {
            let resolve = |item: Value| {
                let known = reference(&item).and_then(|id| resolved.get(id)).cloned();
                known.unwrap_or(item)
            };
            Some(items.into_iter().map(resolve).collect())
        }
        _ => None,
    }
}

/// Adds the keys that typed clients require; new ids are made from `base`, the id of the whole.
pub fn with_ids(items: Vec<Value>, base: &str) -> Vec<Value> {
    let base = base_of(base);
    let items = items.into_iter().enumerate();
    items
        .map(|(index, item)| match item {
            Value::Object(fields) => Value::Object(with_id(fields, base, index)),
            // Refused later, where the item is read.
            other => other,
        })
        .collect()
}

fn with_id(mut fields: Map<String, Value>, base: &str, index: usize) -> Map<String, Value> {
    let kind = match &fields.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        _ if fields.get("role").is_some_and(Value::is_string) => "message".to_owned(),
        // Refused later, where the item is read.
        _ => return fields,
    };
    let prefix = match kind.as_str() {
        "message" => "msg",
        "function_call" => "fc",
        "function_call_output" => "fco",
        "custom_tool_call" => "ctc",
        "custom_tool_call_output" => "ctco",
        "reasoning" => "rs",
        "compaction" => "cmp",
        _ => "item",
    };
    if fields
        .get("id")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        fields.insert("id".to_owned(), format!("{prefix}_{base}i{index}").into());
    }
    match kind.as_str() {
        "message" => {
            let is_assistant = fields.get("role").is_some_and(|role| role == "assistant");
            if let Some(content) = fields.get_mut("content") {
                *content = parts(std::mem::take(content), is_assistant);
            }
            complete(&mut fields);
        }
        "function_call" | "function_call_output" => complete(&mut fields),
        "reasoning" => {
            let summary = fields.entry("summary").or_insert_with(|| json!([]));
            if summary.is_null() {
                *summary = json!([]);
            }
        }
        _ => {}
    }
    fields.insert("type".to_owned(), kind.into());
    fields
}

fn complete(fields: &mut Map<String, Value>) {
    let status = fields.entry("status").or_insert(Value::Null);
    if status.is_null() {
        *status = "completed".into();
    }
}

/// The content of a message as a list of parts.
fn parts(content: Value, is_assistant: bool) -> Value {
    let text_kind = if is_assistant {
        "output_text"
    } else {
        "input_text"
    };
    let parts = match content {
        Value::String(text) => vec![json!({"type": text_kind, "text": text})],
        Value::Array(parts) => parts,
        other => return other,
    };
    let complete = |mut part: Value| {
        let Some(fields) = part.as_object_mut() else {
            return part;
        };
        if fields.get("type").is_some_and(|kind| kind == "text") {
            fields.insert("type".to_owned(), text_kind.into());
        }
        match fields.get("type").and_then(Value::as_str) {
            Some("output_text") => {
                fields.entry("annotations").or_insert_with(|| json!([]));
            }
            Some("input_image") => {
                fields.entry("detail").or_insert_with(|| "auto".into());
            }
            _ => {}
        }
        part
    };
    parts.into_iter().map(complete).collect()
}

/// Items in the form in which they are stored.
pub fn stored_items(items: &[Value]) -> Vec<Item> {
    let stored = items.iter().map(|item| Item {
        id: item["id"].as_str().unwrap_or_default().to_owned(),
        body: item.to_string(),
    });
    stored.collect()
}

/// Items of a response in the form in which they are stored.
pub(super) fn stored_output(items: &[OutputItem]) -> Vec<Item> {
    // A call that was cut off cannot be answered.
    let is_cut = |item: &&OutputItem| matches!(item, OutputItem::FunctionCall(call) if call.status == Status::Incomplete);
    let stored = items.iter().filter(|item| !is_cut(item)).map(|item| Item {
        id: item.id().to_owned(),
        // Encoding fails only for maps with keys that are not strings.
        body: serde_json::to_string(item).unwrap_or_default(),
    });
    stored.collect()
}

/// A page of items.
pub fn item_list(data: Vec<Value>, has_more: bool) -> ItemList {
    let id = |item: Option<&Value>| {
        let id = item.and_then(|item| item["id"].as_str());
        id.unwrap_or_default().to_owned()
    };
    ItemList {
        object: "list",
        first_id: id(data.first()),
        last_id: id(data.last()),
        data,
        has_more,
    }
}
