//! Validates values of OpenAI's routes; error texts follow OpenAI's.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::invalid;
use crate::error::RequestError;

/// The range of a logit bias.
const BIASES: RangeInclusive<f64> = -100.0..=100.0;

/// The lowest `max_tokens`: Ollama's clients send −1, −2 and 0 for no limit.
const LEAST_LIMIT: i64 = -2;

/// Options that both routes have.
#[derive(Debug)]
pub(super) struct Options<'a> {
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) frequency_penalty: Option<f64>,
    pub(super) presence_penalty: Option<f64>,
    pub(super) max_tokens: Option<i64>,
    pub(super) min_tokens: Option<i64>,
    pub(super) logit_bias: &'a Value,
}

impl Options<'_> {
    /// # Errors
    /// Names the first option that is out of range.
    pub(super) fn check(&self) -> Result<(), RequestError> {
        decimal("temperature", self.temperature, 0.0..=2.0)?;
        decimal("top_p", self.top_p, 0.0..=1.0)?;
        decimal("frequency_penalty", self.frequency_penalty, -2.0..=2.0)?;
        decimal("presence_penalty", self.presence_penalty, -2.0..=2.0)?;
        integer("max_tokens", self.max_tokens, LEAST_LIMIT..=i64::MAX)?;
        integer("min_tokens", self.min_tokens, 0..=i64::MAX)?;
        biases(self.logit_bias)
    }
}

/// # Errors
/// Says which end of the range a number is beyond.
pub(super) fn decimal(
    param: &'static str,
    value: Option<f64>,
    range: RangeInclusive<f64>,
) -> Result<(), RequestError> {
    let Some(value) = value else { return Ok(()) };
    range_error(param, value, &range, "decimal").map_or(Ok(()), Err)
}

/// # Errors
/// Says which bound the number violates.
pub(super) fn integer(
    param: &'static str,
    value: Option<i64>,
    range: RangeInclusive<i64>,
) -> Result<(), RequestError> {
    let Some(value) = value else { return Ok(()) };
    range_error(param, value, &range, "integer").map_or(Ok(()), Err)
}

fn range_error<N: PartialOrd + Display>(
    param: &'static str,
    value: N,
    range: &RangeInclusive<N>,
    kind: &str,
) -> Option<RequestError> {
    let (side, sign, end, code) = if value < *range.start() {
        let code = match kind {
            "integer" => "integer_below_min_value",
            _ => "decimal_below_min_value",
        };
        ("below minimum", ">=", range.start(), code)
    } else if value > *range.end() {
        let code = match kind {
            "integer" => "integer_above_max_value",
            _ => "decimal_above_max_value",
        };
        ("above maximum", "<=", range.end(), code)
    } else {
        return None;
    };
    let message = format!(
        "Invalid '{param}': {kind} {side} value. Expected a value {sign} {end}, but got {value} instead."
    );
    Some(invalid(message).about(param, code))
}

/// `{"TOKEN": BIAS}`, or llama-server's `[[TOKEN, BIAS]]`, where `false` forbids a token.
fn biases(value: &Value) -> Result<(), RequestError> {
    let wrong = |what: &str| {
        let message = format!("Invalid 'logit_bias': {what}.");
        Err(invalid(message).about("logit_bias", "invalid_type"))
    };
    let bias = |value: &Value| match value.as_f64() {
        Some(bias) => decimal("logit_bias", Some(bias), BIASES),
        None if *value == Value::Bool(false) => Ok(()),
        None => wrong("a bias must be a number"),
    };
    match value {
        Value::Null => Ok(()),
        Value::Object(biases) => {
            for (token, value) in biases {
                if token.trim().parse::<i32>().is_err() {
                    return wrong("its keys must be the numbers of tokens");
                }
                bias(value)?;
            }
            Ok(())
        }
        Value::Array(pairs) => {
            for pair in pairs {
                match pair.as_array().map(Vec::as_slice) {
                    Some([token, value]) if is_token(token) => bias(value)?,
                    _ => return wrong("it must be pairs of a token's number and a bias"),
                }
            }
            Ok(())
        }
        _ => wrong("it must be an object"),
    }
}

fn is_token(value: &Value) -> bool {
    value
        .as_i64()
        .is_some_and(|token| i32::try_from(token).is_ok())
}

/// The error for a value that a field does not support.
pub(super) fn unknown(
    param: impl Into<Cow<'static, str>>,
    value: &str,
    known: &str,
) -> RequestError {
    let param = param.into();
    let shown: String = value.chars().take(64).collect();
    let message = format!("Invalid value: '{shown}'. Supported values are: {known}.");
    invalid(message).about(param, "invalid_value")
}

/// The error for a value of a wrong type.
pub(super) fn wrong_type(
    param: impl Into<Cow<'static, str>>,
    expected: &str,
    value: &Value,
) -> RequestError {
    let param = param.into();
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    let message =
        format!("Invalid type for '{param}': expected {expected}, but got {got} instead.");
    invalid(message).about(param, "invalid_type")
}

/// The error for a missing value.
pub(super) fn missing(param: impl Into<Cow<'static, str>>) -> RequestError {
    let param = param.into();
    invalid(format!("Missing required parameter: '{param}'."))
        .about(param, "missing_required_parameter")
}
