//! Turns JSON schemas as people write them into schemas for llguidance. Pure.
//!
//! The rules are those of llama.cpp's own converter, which Ollama's clients rely on:
//! - an object with `properties` has no others, unless the schema allows it (`additionalProperties`); schema
//!   generators (pydantic, zod, …) leave that out, and a model that may invent properties does;
//! - a schema without `type` has the type that its keywords belong to;
//! - integers have at most 16 digits, so that none goes on forever.
//!
//! Keywords that cannot be enforced are removed: the answer is then less constrained instead of refused.

mod draft;

use std::collections::BTreeSet;

use llguidance::derivre::{RegexAst, RegexBuilder};
use llguidance::regex_to_lark;
use serde_json::{Map, Value, json};

/// Values that inlining may copy: a few schemas that refer to each other can have copies that exceed the
/// memory.
const MAX_COPIED: usize = 50_000;

/// The largest integer of 16 digits.
const MOST: i64 = 9_999_999_999_999_999;

/// Bounds from here on are removed, as they limit nothing.
const LARGEST_BOUND: f64 = 1e15;

/// Lengths from here on are no limit for an answer.
const LARGEST_LENGTH: u64 = 100_000;

const BOUNDS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];

const LENGTHS: [&str; 6] = [
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
];

/// Keywords by the type that they belong to.
const IMPLIED: [(&str, &[&str]); 3] = [
    (
        "object",
        &[
            "properties",
            "additionalProperties",
            "patternProperties",
            "required",
        ],
    ),
    ("array", &["items", "prefixItems", "minItems", "maxItems"]),
    ("string", &["pattern", "minLength", "maxLength", "format"]),
];

/// Keywords that define a value without a `type`.
const TYPED_OTHERWISE: [&str; 7] = ["type", "$ref", "const", "enum", "allOf", "anyOf", "oneOf"];

/// Keywords whose value is a schema, a map of schemas, a list of schemas.
const SCHEMA: [&str; 3] = ["items", "additionalProperties", "additionalItems"];
const MAPS: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
const LISTS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];

/// The keywords whose schemas describe the same value.
const PARTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Rewrites a schema.
///
/// # Errors
/// Says why no answer can match the schema.
pub(super) fn prepare(mut schema: Value) -> Result<Value, String> {
    let written = schema.clone();
    each(&mut schema, &mut |schema| {
        draft::modern(schema, &written);
        tidy(schema);
    });
    let root = schema.clone();
    let mut close = Close {
        root: &root,
        n_copied: 0,
    };
    close.standalone(&mut schema)?;
    Ok(schema)
}

/// Calls a function for a schema and all schemas in it, outside in.
fn each(schema: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    let Value::Object(fields) = schema else {
        return;
    };
    visit(fields);
    for (key, value) in fields {
        let key = key.as_str();
        match value {
            Value::Object(map) if MAPS.contains(&key) => {
                map.values_mut().for_each(|schema| each(schema, visit));
            }
            Value::Array(list) if LISTS.contains(&key) || key == "items" => {
                list.iter_mut().for_each(|schema| each(schema, visit));
            }
            value if SCHEMA.contains(&key) => each(value, visit),
            _ => {}
        }
    }
}

/// Rewrites the keywords of one schema to ones that llguidance supports.
fn tidy(schema: &mut Map<String, Value>) {
    if let Some(Value::String(target)) = schema.get("$ref")
        && !target.starts_with('#')
    {
        tracing::warn!(%target, "a schema refers to another document, which is ignored");
        schema.remove("$ref");
    }
    for key in LENGTHS {
        tidy_length(schema, key);
    }
    for key in BOUNDS {
        let bound = schema.get(key).and_then(Value::as_f64);
        if bound.is_some_and(|bound| bound.abs() > LARGEST_BOUND) {
            schema.remove(key);
        }
    }
    tidy_items(schema);
    tidy_patterns(schema);
    if !TYPED_OTHERWISE.iter().any(|key| schema.contains_key(*key)) {
        let implied = IMPLIED.iter().find(|(_, keys)| {
            let mut keys = keys.iter();
            keys.any(|key| schema.contains_key(*key))
        });
        if let Some((kind, _)) = implied {
            schema.insert("type".to_owned(), (*kind).into());
        }
    }
    if schema.get("type").is_some_and(|kind| kind == "integer") {
        let has = |keys: [&str; 2]| keys.iter().any(|key| schema.contains_key(*key));
        let (low, high) = (
            has(["minimum", "exclusiveMinimum"]),
            has(["maximum", "exclusiveMaximum"]),
        );
        if !low {
            schema.insert("minimum".to_owned(), (-MOST).into());
        }
        if !high {
            schema.insert("maximum".to_owned(), MOST.into());
        }
    }
}

/// Lengths may be written as `1.0`; lengths that limit nothing or make no sense are removed.
fn tidy_length(schema: &mut Map<String, Value>, key: &str) {
    let Some(value) = schema.get(key) else { return };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a whole number within the limit"
    )]
    let length = value.as_u64().or_else(|| {
        let length = value.as_f64()?;
        let is_length = length.fract() == 0.0 && (0.0..=LARGEST_LENGTH as f64).contains(&length);
        is_length.then_some(length as u64)
    });
    match length {
        Some(length) if length <= LARGEST_LENGTH => {
            schema.insert(key.to_owned(), length.into());
        }
        _ => {
            schema.remove(key);
        }
    }
}

/// Removes patterns that no automaton can match (look-around, backreferences).
fn tidy_patterns(schema: &mut Map<String, Value>) {
    if let Some(Value::String(pattern)) = schema.get("pattern")
        && !is_readable(pattern)
    {
        tracing::warn!(%pattern, "a schema's pattern cannot be enforced, any string is taken");
        schema.remove("pattern");
        schema.entry("type").or_insert_with(|| "string".into());
    }
    let Some(Value::Object(patterns)) = schema.get_mut("patternProperties") else {
        return;
    };
    let unreadable: Vec<String> = patterns
        .keys()
        .filter(|pattern| !is_readable(pattern))
        .cloned()
        .collect();
    for pattern in unreadable {
        tracing::warn!(%pattern, "a schema's pattern cannot be enforced, any name is taken");
        let Some(Value::Object(patterns)) = schema.get_mut("patternProperties") else {
            return;
        };
        let value = patterns.remove(&pattern);
        if let Some(value) = value {
            schema.insert("additionalProperties".to_owned(), value);
        }
    }
}

fn is_readable(pattern: &str) -> bool {
    // As llguidance parses it.
    let pattern = RegexAst::SearchRegex(regex_to_lark(pattern, "dw"));
    RegexBuilder::new().mk(&pattern).is_ok()
}

/// Lists of schemas, one for each item, also in the spellings of older drafts.
fn tidy_items(schema: &mut Map<String, Value>) {
    if schema.get("prefixItems").is_some_and(Value::is_object)
        && let Some(items) = schema.remove("prefixItems")
    {
        schema.entry("items").or_insert(items);
    }
    if schema.get("items").is_some_and(Value::is_array)
        && let Some(items) = schema.remove("items")
    {
        schema.insert("prefixItems".to_owned(), items);
        let rest = schema.remove("additionalItems");
        schema.insert("items".to_owned(), rest.unwrap_or(Value::Bool(false)));
    }
    if let Some(n_items) = schema
        .get("prefixItems")
        .and_then(Value::as_array)
        .map(Vec::len)
    {
        schema.entry("items").or_insert(Value::Bool(false));
        schema.entry("minItems").or_insert(n_items.into());
    }
}

/// Closes objects.
struct Close<'a> {
    /// The original document, which references are resolved in.
    root: &'a Value,
    n_copied: usize,
}

/// The properties that all parts of an object name.
#[derive(Default)]
struct Named {
    names: Vec<String>,
    /// Some part names properties.
    is_object: bool,
    /// Some part allows further properties.
    is_open: bool,
}

impl Close<'_> {
    /// Closes a schema that describes a value by itself, and all schemas in it.
    fn standalone(&mut self, schema: &mut Value) -> Result<(), String> {
        self.check_loop(schema)?;
        let Value::Object(fields) = schema else {
            return Ok(());
        };
        let has_properties = fields.contains_key("properties");
        let n_parts = fields
            .get("allOf")
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
            + usize::from(has_properties)
            + usize::from(fields.contains_key("$ref"));
        // A single part is closed where it is.
        if n_parts > 1 {
            self.close_whole(fields)?;
            return self.inside(fields, true);
        }
        let alternatives = ["anyOf", "oneOf"].into_iter();
        let mut alternatives = alternatives.filter(|key| fields.contains_key(*key));
        match alternatives.next() {
            Some(key) if has_properties => self.close_alternatives(fields, key)?,
            None if has_properties => close(fields, &[]),
            _ => {}
        }
        self.inside(fields, false)
    }

    /// Continues with the schemas in a schema. Some may be parts of one value: these were closed together, but
    /// the schemas inside them were not.
    fn inside(&mut self, fields: &mut Map<String, Value>, is_whole: bool) -> Result<(), String> {
        for (key, value) in fields {
            let key = key.as_str();
            match value {
                Value::Object(map) if MAPS.contains(&key) => {
                    map.values_mut()
                        .try_for_each(|schema| self.standalone(schema))?;
                }
                Value::Array(parts) if is_whole && PARTS.contains(&key) => {
                    for part in parts.iter_mut().filter_map(Value::as_object_mut) {
                        self.inside(part, true)?;
                    }
                }
                Value::Array(list) if LISTS.contains(&key) => {
                    list.iter_mut()
                        .try_for_each(|schema| self.standalone(schema))?;
                }
                value if SCHEMA.contains(&key) => self.standalone(value)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Closes an object with several parts at once, which has the properties of all of them.
    fn close_whole(&mut self, fields: &mut Map<String, Value>) -> Result<(), String> {
        if let Some(target) = fields.remove("$ref") {
            let part = json!({ "$ref": target });
            match fields.entry("allOf").or_insert_with(|| json!([])) {
                Value::Array(parts) => parts.push(part),
                _ => return Err("allOf must be a list of schemas".to_owned()),
            }
        }
        let mut named = Named::default();
        self.open_parts(fields, &mut named, &mut BTreeSet::new())?;
        if named.is_object && !named.is_open {
            close(fields, &named.names);
        }
        Ok(())
    }

    /// Replaces references by copies, removes `additionalProperties: false` from the parts, and collects the
    /// properties that they name.
    fn open_parts(
        &mut self,
        fields: &mut Map<String, Value>,
        named: &mut Named,
        path: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        if let Some(Value::Object(properties)) = fields.get("properties") {
            named.is_object = true;
            named.names.extend(properties.keys().cloned());
        }
        let others = fields.get("additionalProperties");
        named.is_open |= others.is_some_and(|others| *others != Value::Bool(false));
        if others.is_some_and(|others| *others == Value::Bool(false)) {
            fields.remove("additionalProperties");
        }
        for key in PARTS {
            let Some(Value::Array(parts)) = fields.get_mut(key) else {
                continue;
            };
            for part in parts {
                let target = self.inline(part)?;
                // A part that refers back to itself adds nothing.
                if target.as_ref().is_some_and(|target| path.contains(target)) {
                    *part = json!({});
                    continue;
                }
                if let Value::Object(fields) = part {
                    path.extend(target.clone());
                    self.open_parts(fields, named, path)?;
                }
                if let Some(target) = target {
                    path.remove(&target);
                }
            }
        }
        Ok(())
    }

    /// Closes an object with several alternative forms and properties beside them.
    fn close_alternatives(
        &mut self,
        fields: &mut Map<String, Value>,
        key: &str,
    ) -> Result<(), String> {
        let mut own = Named::default();
        let mut forms = fields.remove(key);
        self.open_parts(fields, &mut own, &mut BTreeSet::new())?;
        if let Some(Value::Array(forms)) = &mut forms
            && !own.is_open
        {
            for form in forms {
                let target = self.inline(form)?;
                let Value::Object(form) = form else { continue };
                let mut named = Named::default();
                let mut path = target.into_iter().collect();
                self.open_parts(form, &mut named, &mut path)?;
                if !named.is_open {
                    named.names.extend(own.names.iter().cloned());
                    form.entry("properties").or_insert_with(|| json!({}));
                    close(form, &named.names);
                }
            }
        }
        fields.extend(forms.map(|forms| (key.to_owned(), forms)));
        Ok(())
    }

    /// Replaces a reference by a copy of its target; returns the target's path.
    fn inline(&mut self, schema: &mut Value) -> Result<Option<String>, String> {
        let mut target = None;
        // The limit on copied values also bounds a chain of references.
        while let Some(next) = reference(schema) {
            let next = next.to_owned();
            let found = resolve(self.root, &next)?;
            self.n_copied = self.n_copied.saturating_add(size(found));
            if self.n_copied > MAX_COPIED {
                return Err("the schema refers to itself too often".to_owned());
            }
            let Value::Object(fields) = schema else { break };
            fields.remove("$ref");
            let mut found = found.clone();
            if let Value::Object(found) = &mut found {
                for (key, value) in std::mem::take(fields) {
                    found.entry(key).or_insert(value);
                }
            }
            *schema = found;
            target = Some(next);
        }
        Ok(target)
    }

    /// Refuses references that lead only to themselves.
    fn check_loop(&self, schema: &Value) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let mut schema = schema;
        while let Some(target) = reference(schema) {
            if !seen.insert(target) {
                return Err(format!(
                    "the schema refers to itself without end: `{target}`"
                ));
            }
            schema = resolve(self.root, target)?;
        }
        Ok(())
    }
}

/// Closes an object, except for these further properties.
fn close(fields: &mut Map<String, Value>, names: &[String]) {
    if fields.contains_key("additionalProperties") {
        return;
    }
    let is_open = fields
        .get("unevaluatedProperties")
        .is_some_and(|value| *value != Value::Bool(false));
    if is_open {
        return;
    }
    let properties = fields.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        for name in names {
            properties.entry(name.as_str()).or_insert(Value::Bool(true));
        }
    }
    fields.insert("additionalProperties".to_owned(), false.into());
}

/// The place in this document that a schema refers to. Names (`#name`) are left to llguidance.
fn reference(schema: &Value) -> Option<&str> {
    let target = schema.as_object()?.get("$ref")?.as_str()?;
    (target == "#" || target.starts_with("#/")).then_some(target)
}

fn resolve<'a>(root: &'a Value, target: &str) -> Result<&'a Value, String> {
    let found = target.strip_prefix('#').and_then(|path| root.pointer(path));
    found.ok_or_else(|| format!("the schema refers to `{target}`, which it does not have"))
}

/// The number of values in a value, itself included.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Object(fields) => fields.values().map(size).sum(),
        Value::Array(items) => items.iter().map(size).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
