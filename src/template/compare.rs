//! Equality and order. Comparing values of different kinds is an error.

use std::cmp::Ordering;

use super::value::Value;

/// The kinds of values; only values of the same kind can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basic {
    Bool,
    Int,
    Float,
    String,
    /// Lists, maps, structs and nil.
    Other,
}

fn basic(value: &Value) -> Basic {
    match value {
        Value::Bool(_) => Basic::Bool,
        Value::Int(_) => Basic::Int,
        Value::Float(_) => Basic::Float,
        Value::String(_) => Basic::String,
        _ => Basic::Other,
    }
}

/// Whether the first is equal to any of the others.
pub(super) fn equals_any(first: &Value, others: &[Value]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equals(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equals(left: &Value, right: &Value) -> Result<bool, String> {
    if left.is_nil() || right.is_nil() {
        return Ok(left.is_nil() && right.is_nil());
    }
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::Int(left), Value::Int(right)) => Ok(left == right),
        (Value::Float(left), Value::Float(right)) => Ok(left == right),
        (Value::String(left), Value::String(right)) => Ok(left == right),
        _ if basic(left) != basic(right) => Err(incompatible(left, right)),
        _ => {
            let mut text = super::format::Sink::new(super::MAX_BYTES);
            super::format::value(&mut text, right);
            let text = text.into_bytes();
            let text = String::from_utf8_lossy(&text);
            Err(format!("non-comparable type {text}: {}", right.type_name()))
        }
    }
}

/// The order of two numbers or strings; `None` where there is a NaN.
pub(super) fn order(left: &Value, right: &Value) -> Result<Option<Ordering>, String> {
    const INVALID: &str = "invalid type for comparison";
    let kinds = (basic(left), basic(right));
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Ok(Some(left.cmp(right))),
        (Value::Float(left), Value::Float(right)) => Ok(left.partial_cmp(right)),
        (Value::String(left), Value::String(right)) => Ok(Some(left.cmp(right))),
        _ if kinds.0 == Basic::Other || kinds.1 == Basic::Other => Err(INVALID.to_owned()),
        _ if kinds.0 != kinds.1 => Err(incompatible(left, right)),
        _ => Err(INVALID.to_owned()),
    }
}

fn incompatible(left: &Value, right: &Value) -> String {
    let (left, right) = (left.type_name(), right.type_name());
    format!("incompatible types for comparison: {left} and {right}")
}
