//! Limits the size of constraints. llguidance has its own limits, but before it checks them its time grows with
//! the square of some sizes, and its stack with others.

use serde_json::Value;

use crate::protocol::Constraint;

/// Bytes of a schema: a thousand tools with long descriptions.
const SCHEMA_BYTES: usize = 1 << 20;

/// Bytes of a grammar or a regular expression: several times the size of a grammar for SQL.
const GRAMMAR_BYTES: usize = 128 << 10;

/// Properties of one object. Compile time grows with their square: a second for this many.
const PROPERTIES: usize = 4096;

/// Patterns for the names of one object's properties. Each is compared with every other, at up to ten
/// milliseconds.
const PATTERNS: usize = 32;

/// The most nested levels of a schema, including those of references: each takes a few kilobytes of stack.
const LEVELS: usize = 16 << 10;

/// References to different places.
const REFERENCES: usize = 4096;

/// Checks the bytes of a constraint.
pub(super) fn check_bytes(constraint: &Constraint) -> Result<(), String> {
    let (n_bytes, most) = match constraint {
        Constraint::JsonObject => return Ok(()),
        Constraint::JsonSchema(text) => (text.len(), SCHEMA_BYTES),
        Constraint::Regex(text) | Constraint::Lark(text) => (text.len(), GRAMMAR_BYTES),
    };
    if n_bytes <= most {
        return Ok(());
    }
    Err(format!("it has {n_bytes} bytes, more than {most}"))
}

/// Checks the structure of a schema.
pub(super) fn check_schema(schema: &Value) -> Result<(), String> {
    let mut references = Vec::new();
    check(schema, &mut references)?;
    references.sort_unstable();
    references.dedup();
    if references.len() > REFERENCES {
        return Err(format!("more than {REFERENCES} references"));
    }
    let places = references.iter().filter_map(|reference| {
        let pointer = reference.strip_prefix('#')?;
        schema.pointer(pointer)
    });
    let n_levels = depth(schema) + places.map(depth).sum::<usize>();
    if n_levels > LEVELS {
        return Err(format!("it has {n_levels} levels, more than {LEVELS}"));
    }
    Ok(())
}

fn check<'a>(schema: &'a Value, references: &mut Vec<&'a str>) -> Result<(), String> {
    match schema {
        Value::Array(items) => items.iter().try_for_each(|item| check(item, references)),
        Value::Object(fields) => {
            for (key, value) in fields {
                let n = value.as_object().map_or(0, serde_json::Map::len);
                match key.as_str() {
                    "properties" if n > PROPERTIES => {
                        return Err(format!(
                            "an object with {n} properties, more than {PROPERTIES}"
                        ));
                    }
                    "patternProperties" if n > PATTERNS => {
                        return Err(format!("{n} patternProperties, more than {PATTERNS}"));
                    }
                    "$ref" => references.extend(value.as_str()),
                    _ => {}
                }
                check(value, references)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The nesting depth of a value; the JSON parser has limited it.
fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => None,
    };
    1 + deepest.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn objects(n: usize, value: impl Fn(usize) -> Value) -> Map<String, Value> {
        (0..n)
            .map(|index| (format!("p{index}"), value(index)))
            .collect()
    }

    #[test]
    fn what_would_take_minutes_is_refused() {
        let fine = json!({"type": "object", "properties": objects(PROPERTIES, |_| json!({}))});
        assert_eq!(check_schema(&fine), Ok(()));
        let wide = json!({"properties": objects(PROPERTIES + 1, |_| json!({}))});
        let patterns =
            json!({"items": {"patternProperties": objects(PATTERNS + 1, |_| json!({}))}});
        let chain = |n: usize| {
            let next = |index| {
                let next = format!("#/$defs/p{}", index + 1);
                json!({"items": {"items": {"items": {"$ref": next}}}})
            };
            json!({"$defs": objects(n, next), "$ref": "#/$defs/p0"})
        };
        let many = json!({"$defs": objects(10, |_| json!({})),
            "anyOf": (0..=REFERENCES).map(|n| json!({"$ref": format!("#/{n}")})).collect::<Vec<_>>()});
        for (schema, word) in [
            (wide, "properties"),
            (patterns, "patternProperties"),
            (chain(4090), "levels"),
            (many, "references"),
        ] {
            let error = check_schema(&schema).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(check_schema(&chain(1000)), Ok(()));
        let circle = json!({"properties": {"next": {"$ref": "#"}}});
        assert_eq!(check_schema(&circle), Ok(()));
    }

    #[test]
    fn long_texts_are_refused_before_they_are_read() {
        let long = |n| "x".repeat(n);
        assert!(check_bytes(&Constraint::JsonSchema(long(SCHEMA_BYTES))).is_ok());
        assert!(check_bytes(&Constraint::JsonSchema(long(SCHEMA_BYTES + 1))).is_err());
        assert!(check_bytes(&Constraint::Lark(long(GRAMMAR_BYTES + 1))).is_err());
        assert!(check_bytes(&Constraint::Regex(long(GRAMMAR_BYTES + 1))).is_err());
    }
}
