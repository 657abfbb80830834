//! Tool calls from their parts: values are converted to the types that a tool declares.

use serde_json::{Map, Value};

use crate::chat::typed::{TypedProperty, TypedTool};
use crate::chat::{ToolCall, ToolCallFunction, ToolDefinition};

/// A call; the caller sets its index.
pub(in crate::families) fn call(
    name: impl Into<String>,
    arguments: Map<String, Value>,
) -> ToolCall {
    ToolCall {
        function: ToolCallFunction {
            index: 0,
            name: name.into(),
            arguments,
        },
        ..ToolCall::default()
    }
}

/// Counts the calls of a whole answer.
#[derive(Debug, Default)]
pub(in crate::families) struct Counter(u32);

impl Counter {
    /// Gives calls the next indices.
    pub(in crate::families) fn number(&mut self, mut calls: Vec<ToolCall>) -> Vec<ToolCall> {
        for call in &mut calls {
            call.function.index = self.0;
            self.0 += 1;
        }
        calls
    }

    /// The index of the next call.
    pub(in crate::families) fn next(&self) -> u32 {
        self.0
    }

    pub(in crate::families) fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

/// The declared tool of a name.
pub(in crate::families) fn declared<'a>(
    tools: &'a [ToolDefinition],
    name: &str,
) -> Option<&'a ToolDefinition> {
    tools.iter().find(|tool| tool.function.name == name)
}

/// The types that a tool's parameter may have; empty = not declared.
pub(in crate::families) fn types(tool: Option<&ToolDefinition>, parameter: &str) -> Vec<String> {
    let Some(tool) = tool else {
        return Vec::new();
    };
    let typed = TypedTool::from(tool);
    let mut properties = typed.function.parameters.properties.into_iter().flatten();
    let found = properties.find(|(name, _)| name == parameter);
    found.map_or(Vec::new(), |(_, property)| kinds(property))
}

fn kinds(property: TypedProperty) -> Vec<String> {
    if property.any_of.is_empty() {
        return property.kinds;
    }
    property
        .any_of
        .into_iter()
        .flat_map(|part| part.kinds)
        .collect()
}

/// Parses a value written as bare text; a line feed at each end belongs to the tags around it.
pub fn typed_value<S: AsRef<str>>(raw: &str, types: &[S]) -> Value {
    let raw = raw.strip_prefix('\n').unwrap_or(raw);
    let raw = raw.strip_suffix('\n').unwrap_or(raw);
    bare_value(raw, types)
}

/// Parses a value by the types that it may have, the most specific one first.
pub(in crate::families) fn bare_value<S: AsRef<str>>(raw: &str, types: &[S]) -> Value {
    if raw.eq_ignore_ascii_case("null") {
        return Value::Null;
    }
    let has = |name: &str| types.iter().any(|kind| kind.as_ref() == name);
    if has("boolean") {
        match raw.to_lowercase().as_str() {
            "true" => return true.into(),
            "false" => return false.into(),
            _ if types.len() == 1 => return false.into(),
            _ => {}
        }
    }
    if has("integer")
        && let Ok(number) = raw.parse::<i64>()
    {
        return number.into();
    }
    if has("number")
        && let Some(number) = number(raw)
    {
        return number;
    }
    let json = || serde_json::from_str::<Value>(raw).ok();
    if has("array")
        && let Some(array) = json().filter(Value::is_array)
    {
        return array;
    }
    if has("object")
        && let Some(object) = json().filter(Value::is_object)
    {
        return object;
    }
    raw.into()
}

/// A number; a number without a fraction becomes an integer.
fn number(raw: &str) -> Option<Value> {
    let number: f64 = raw.parse().ok().filter(|number: &f64| number.is_finite())?;
    #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
    let whole = (number.fract() == 0.0 && number.abs() < 9e18).then_some(number as i64);
    Some(whole.map_or_else(|| number.into(), Value::from))
}

/// Parses a JSON object.
pub(in crate::families) fn object(text: &str) -> Result<Map<String, Value>, serde_json::Error> {
    serde_json::from_str(text)
}
