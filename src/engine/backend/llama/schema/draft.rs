//! Rewrites JSON schemas of any draft for the one draft that constraints are read in (2020-12). Pure.
//!
//! - `$schema` is removed: an older draft named there would hide keywords of a newer one.
//! - `propertyNames` (dictionaries of pydantic and zod) becomes `properties` or `patternProperties`; with
//!   patterns no other properties are allowed, unless the schema says so.
//! - Strings in time formats get a maximum length, because fractions of a second may have any number of digits.

use serde_json::{Map, Value};

use super::size;

/// The longest strings of these formats, with nine decimal digits for the seconds.
const TIMES: [(&str, u64); 3] = [("date-time", 35), ("time", 24), ("duration", 40)];

/// Most properties that are made of one list of names, and the most values in them.
const MOST_COPIED: usize = 10_000;

/// The longest property name that is limited by a pattern.
const LONGEST_NAME: u64 = 256;

/// Rewrites one schema; the caller visits nested schemas afterwards. `root` is the whole original document.
pub(super) fn modern(schema: &mut Map<String, Value>, root: &Value) {
    schema.remove("$schema");
    bound_times(schema);
    name_properties(schema, root);
    // As for `properties`.
    if schema.contains_key("patternProperties") && !schema.contains_key("properties") {
        schema
            .entry("additionalProperties")
            .or_insert(Value::Bool(false));
    }
}

fn bound_times(schema: &mut Map<String, Value>) {
    let format = schema.get("format").and_then(Value::as_str);
    let known = TIMES.iter().find(|(name, _)| format == Some(*name));
    if let Some((_, longest)) = known {
        schema
            .entry("maxLength")
            .or_insert_with(|| (*longest).into());
    }
}

/// Replaces `propertyNames`, if there are any.
fn name_properties(schema: &mut Map<String, Value>, root: &Value) {
    let Some(names) = schema.get("propertyNames") else {
        return;
    };
    let target = names.get("$ref").and_then(Value::as_str);
    let target = target.and_then(|target| root.pointer(target.strip_prefix('#')?));
    let names = target.unwrap_or(names);
    let values = match schema.get("additionalProperties") {
        Some(Value::Bool(false)) => return,
        Some(values @ Value::Object(_)) => values.clone(),
        _ => Value::Object(Map::new()),
    };
    let (keyword, entries) = if let Some(names) = listed(names) {
        if names.len().saturating_mul(size(&values)) > MOST_COPIED {
            return;
        }
        ("properties", names)
    } else if let Some(pattern) = pattern(names) {
        if schema.contains_key("properties") || schema.contains_key("patternProperties") {
            return;
        }
        ("patternProperties", vec![pattern])
    } else {
        return;
    };
    let known = schema
        .entry(keyword)
        .or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(known) = known else { return };
    for name in entries {
        known.entry(name).or_insert_with(|| values.clone());
    }
    schema.remove("propertyNames");
    schema.insert("additionalProperties".to_owned(), false.into());
}

/// The names, if the schema lists them.
fn listed(names: &Value) -> Option<Vec<String>> {
    let listed = match (names.get("enum"), names.get("const")) {
        (Some(Value::Array(listed)), _) => listed.as_slice(),
        (None, Some(only)) => std::slice::from_ref(only),
        _ => return None,
    };
    let name = |name: &Value| name.as_str().map(str::to_owned);
    // What is not a string cannot be a name.
    Some(listed.iter().filter_map(name).collect())
}

/// A regular expression for the names.
fn pattern(names: &Value) -> Option<String> {
    if let Some(pattern) = names.get("pattern").and_then(Value::as_str) {
        return Some(pattern.to_owned());
    }
    let length = |key| names.get(key).and_then(Value::as_u64);
    let (least, most) = (length("minLength").unwrap_or(0), length("maxLength")?);
    (least <= most && most <= LONGEST_NAME).then(|| format!("^[\\s\\S]{{{least},{most}}}$"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::each;
    use super::*;

    #[track_caller]
    fn check(mut schema: Value, expected: &Value) {
        let root = schema.clone();
        each(&mut schema, &mut |schema| modern(schema, &root));
        assert_eq!(&schema, expected);
    }

    #[track_caller]
    fn stays(schema: &Value) {
        check(schema.clone(), schema);
    }

    #[test]
    fn no_draft_is_named() {
        let seven = "http://json-schema.org/draft-07/schema#";
        check(
            json!({"$schema": seven, "items": [{"$schema": seven, "type": "null"}]}),
            &json!({"items": [{"type": "null"}]}),
        );
        // Here `$schema` is the name of a property.
        stays(&json!({"properties": {"$schema": {"type": "string"}}}));
        stays(&json!({"enum": [{"$schema": 1}], "default": {"format": "time"}}));
    }

    #[test]
    fn times_are_bounded() {
        check(
            json!({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}],
                "properties": {"format": {"format": "time", "maxLength": 8}}}),
            &json!({"anyOf": [{"type": "string", "format": "date-time", "maxLength": 35}, {"type": "null"}],
                "properties": {"format": {"format": "time", "maxLength": 8}}}),
        );
        stays(&json!({"format": "date"}));
        stays(&json!({"format": 1}));
    }

    #[test]
    fn named_properties_are_properties() {
        let count = json!({"type": "integer"});
        check(
            json!({"type": "object", "propertyNames": {"enum": ["a", "b", 3]},
                "additionalProperties": count, "required": ["a"]}),
            &json!({"type": "object", "additionalProperties": false, "required": ["a"],
                "properties": {"a": count, "b": count}}),
        );
        check(
            json!({"propertyNames": {"const": "a"}, "properties": {"a": {"type": "null"}}}),
            &json!({"properties": {"a": {"type": "null"}}, "additionalProperties": false}),
        );
        let colour = json!({"enum": ["red"]});
        check(
            json!({"$defs": {"Colour": colour}, "items": {"propertyNames": {"$ref": "#/$defs/Colour"},
                "additionalProperties": {"format": "time"}}}),
            &json!({"$defs": {"Colour": colour}, "items": {"additionalProperties": false,
                "properties": {"red": {"format": "time", "maxLength": 24}}}}),
        );
        check(
            json!({"propertyNames": {"pattern": "^x"}, "additionalProperties": count}),
            &json!({"patternProperties": {"^x": count}, "additionalProperties": false}),
        );
        check(
            json!({"propertyNames": {"maxLength": 8}}),
            &json!({"patternProperties": {"^[\\s\\S]{0,8}$": {}}, "additionalProperties": false}),
        );
    }

    #[test]
    fn names_with_patterns_have_no_others() {
        check(
            json!({"type": "object", "patternProperties": {"^x": {}}}),
            &json!({"type": "object", "patternProperties": {"^x": {}}, "additionalProperties": false}),
        );
        stays(&json!({"patternProperties": {"^x": {}}, "additionalProperties": true}));
        stays(&json!({"patternProperties": {"^x": {}}, "properties": {"a": {}}}));
    }

    #[test]
    fn what_has_no_other_words_stays() {
        stays(&json!({"propertyNames": {"type": "string"}}));
        stays(&json!({"propertyNames": true}));
        stays(&json!({"propertyNames": {"$ref": "#/$defs/none"}}));
        stays(&json!({"propertyNames": {"$ref": "elsewhere"}}));
        stays(&json!({"propertyNames": {"minLength": 3, "maxLength": 2}}));
        stays(&json!({"propertyNames": {"maxLength": 1e9}}));
        stays(&json!({"propertyNames": {"enum": ["a"]}, "additionalProperties": false}));
        stays(&json!({"propertyNames": {"pattern": "a"}, "properties": {"a": {}}}));
        stays(&json!({"propertyNames": {"enum": ["a"]}, "properties": 1}));
        let many: Vec<String> = (0..=MOST_COPIED).map(|n| n.to_string()).collect();
        stays(&json!({"propertyNames": {"enum": many}}));
    }
}
