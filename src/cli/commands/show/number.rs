//! Numbers and lists of a model's metadata in Go's default format.

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

/// The width at which a list is cut.
const LIST_WIDTH: usize = 10;

/// Prints a metadata value: lists are cut, numbers are short.
pub(super) fn metadata(value: &Value) -> String {
    match value {
        Value::Array(items) => list(items),
        other => plain(other),
    }
}

/// Prints an integer without exponent; other numbers as they are.
pub(super) fn whole(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().map(|float| float.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(String::new, shortest),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(_) => value.to_string(),
    }
}

fn list(items: &[Value]) -> String {
    let mut shown = Vec::new();
    let mut width = 1;
    for item in items {
        let text = plain(item);
        width += text.width() + if shown.is_empty() { 0 } else { 2 };
        if width > LIST_WIDTH && !shown.is_empty() {
            break;
        }
        shown.push(text);
    }
    let hidden = items.len() - shown.len();
    let shown = shown.join(" ");
    if hidden == 0 {
        format!("[{shown}]")
    } else {
        format!("[{shown} ...+{hidden} more]")
    }
}

/// The fewest digits that mean the same number, with an exponent from a million upwards and below a ten-thousandth.
fn shortest(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (json!(8_000_000_000_u64), "8e+09"),
            (json!(8_030_261_312_u64), "8.030261312e+09"),
            (json!(131_072), "131072"),
            (json!(1_048_576), "1.048576e+06"),
            (json!(0.5), "0.5"),
            (json!(0.00001), "1e-05"),
            (json!(0.0001), "0.0001"),
            (json!(0), "0"),
            (json!(true), "true"),
            (json!("x"), "x"),
            (json!(null), "<nil>"),
        ] {
            assert_eq!(metadata(&value), expected);
        }
    }

    #[test]
    fn lists_are_cut() {
        assert_eq!(metadata(&json!([1, 2, 3])), "[1 2 3]");
        assert_eq!(metadata(&json!([1, 2, 3, 4, 5])), "[1 2 3 ...+2 more]");
        assert_eq!(
            metadata(&json!(["<|begin_of_text|>", "b"])),
            "[<|begin_of_text|> ...+1 more]"
        );
        assert_eq!(metadata(&json!([])), "[]");
    }
}
