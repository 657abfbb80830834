//! Numbers: Go's constants, and floats as Go prints them.

use super::value::Value;

/// With more digits than this before the point, Go's shortest form has an exponent.
const SHORTEST_THRESHOLD: usize = 6;

/// Reads a constant in Go's notations; a float only if it is written as one.
pub(super) fn parse_constant(text: &str) -> Option<Value> {
    let (is_negative, unsigned) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') && !lower.contains(['.', 'e']) => {
            (8, &lower[1..])
        }
        _ => (10, lower.as_str()),
    };
    let has_prefix = digits.len() != lower.len();
    if digits.ends_with('_') || digits.contains("__") || (digits.starts_with('_') && !has_prefix) {
        return None;
    }
    let digits = digits.replace('_', "");
    if digits.starts_with(['+', '-']) {
        return None;
    }
    if radix == 10 && digits.contains(['.', 'e']) {
        let is_plain = digits
            .bytes()
            .all(|b| b.is_ascii_digit() || b".e+-".contains(&b));
        let value: f64 = digits.parse().ok().filter(|_| is_plain)?;
        let value = if is_negative { -value } else { value };
        return value.is_finite().then_some(Value::Float(value));
    }
    let magnitude = i128::from(u64::from_str_radix(&digits, radix).ok()?);
    let value = if is_negative { -magnitude } else { magnitude };
    i64::try_from(value).ok().map(Value::Int)
}

/// A finite number's shortest decimal digits and its decimal exponent, without the sign.
fn shortest(value: f64) -> (String, i32) {
    split(&format!("{:e}", value.abs()))
}

fn split(scientific: &str) -> (String, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

fn special(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

/// Go's `%v`: the shortest form, with an exponent below 1e-4 and from 1e+06 (or the precision) on.
pub(super) fn general(value: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let (digits, exponent, threshold) = match precision {
        None => {
            let (digits, exponent) = shortest(value);
            (digits, exponent, SHORTEST_THRESHOLD)
        }
        Some(precision) => {
            let precision = precision.clamp(1, 500);
            let (digits, exponent) = split(&format!("{:.*e}", precision - 1, value.abs()));
            let trimmed = digits.trim_end_matches('0');
            let digits = if trimmed.is_empty() { "0" } else { trimmed };
            (digits.to_owned(), exponent, precision)
        }
    };
    let threshold = i32::try_from(threshold).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= threshold {
        return format!("{sign}{}", with_exponent(&digits, exponent, 2));
    }
    format!("{sign}{}", positional(&digits, exponent))
}

/// Go's `%e`.
pub(super) fn scientific(value: f64, precision: usize) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (precision, zeros) = within_digits(precision);
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}{zeros}e{sign}{:02}", exponent.abs())
}

/// Go's `%f`.
pub(super) fn fixed(value: f64, precision: usize) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (precision, zeros) = within_digits(precision);
    format!("{value:.precision$}{zeros}")
}

/// Splits a precision into one that Rust supports and the zeros that follow: Rust's limit is lower than
/// Go's.
fn within_digits(precision: usize) -> (usize, String) {
    /// The smallest float has this many digits after the point.
    const DIGITS: usize = 1074;
    let zeros = "0".repeat(precision.saturating_sub(DIGITS));
    (precision.min(DIGITS), zeros)
}

/// The form of JSON: an exponent below 1e-6 and from 1e+21 on; `None` for what JSON cannot hold.
pub(super) fn json(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let (digits, exponent) = shortest(value);
    Some(if value != 0.0 && !(-6..21).contains(&exponent) {
        format!("{sign}{}", with_exponent(&digits, exponent, 1))
    } else {
        format!("{sign}{}", positional(&digits, exponent))
    })
}

fn with_exponent(digits: &str, exponent: i32, width: usize) -> String {
    let (first, rest) = digits.split_at(1.min(digits.len()));
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{:0width$}", exponent.abs())
}

fn positional(digits: &str, exponent: i32) -> String {
    let Ok(exponent) = usize::try_from(exponent) else {
        let zeros = usize::try_from(-1 - exponent).unwrap_or(0);
        return format!("0.{}{digits}", "0".repeat(zeros));
    };
    let whole = exponent + 1;
    match digits.split_at_checked(whole) {
        Some((whole, "")) => whole.to_owned(),
        Some((whole, rest)) => format!("{whole}.{rest}"),
        None => format!("{digits}{}", "0".repeat(whole - digits.len())),
    }
}
