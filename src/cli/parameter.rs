//! Converts text to the value of a model parameter, for `PARAMETER` lines and `/set parameter`.

use serde_json::{Number, Value};

use crate::config::values::parse_bool;

/// The type of a parameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Float,
    Bool,
    Texts,
}

#[rustfmt::skip]
const PARAMETERS: &[(&str, Kind)] = &[
    ("num_keep", Kind::Int), ("seed", Kind::Int), ("num_predict", Kind::Int),
    ("top_k", Kind::Int), ("top_p", Kind::Float), ("min_p", Kind::Float),
    ("typical_p", Kind::Float), ("repeat_last_n", Kind::Int), ("temperature", Kind::Float),
    ("repeat_penalty", Kind::Float), ("presence_penalty", Kind::Float),
    ("frequency_penalty", Kind::Float), ("stop", Kind::Texts), ("num_ctx", Kind::Int),
    ("num_batch", Kind::Int), ("num_gpu", Kind::Int), ("main_gpu", Kind::Int),
    ("use_mmap", Kind::Bool), ("num_thread", Kind::Int), ("draft_num_predict", Kind::Int),
    ("dry_multiplier", Kind::Float), ("dry_base", Kind::Float),
    ("dry_allowed_length", Kind::Int), ("dry_penalty_last_n", Kind::Int),
    ("dry_sequence_breakers", Kind::Texts), ("xtc_probability", Kind::Float),
    ("xtc_threshold", Kind::Float),
];

const DEPRECATED: &[&str] = &[
    "penalize_newline",
    "low_vram",
    "f16_kv",
    "logits_all",
    "vocab_only",
    "use_mlock",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
];

/// Whether a parameter is still accepted but has no effect.
pub(super) fn is_deprecated(name: &str) -> bool {
    DEPRECATED.contains(&name)
}

/// Parses a parameter's values; all types but lists use the first one only.
///
/// # Errors
/// Returns Ollama's text.
pub(super) fn parse(name: &str, values: &[&str]) -> Result<Value, String> {
    let kind = PARAMETERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, kind)| *kind);
    let kind = kind.ok_or_else(|| format!("unknown parameter '{name}'"))?;
    let first = values.first().copied().unwrap_or_default();
    match kind {
        Kind::Int => match first.parse::<i64>() {
            Ok(number) => Ok(Value::from(number)),
            Err(_) => Err(format!("invalid int value [{first}]")),
        },
        Kind::Float => {
            let number = first.parse::<f64>().ok().and_then(Number::from_f64);
            number
                .map(Value::Number)
                .ok_or_else(|| format!("invalid float value [{first}]"))
        }
        Kind::Bool => match parse_bool(first) {
            Some(flag) => Ok(Value::Bool(flag)),
            None => Err(format!("invalid bool value [{first}]")),
        },
        Kind::Texts => Ok(Value::from(values.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_follow_their_kind() {
        assert_eq!(parse("num_ctx", &["4096"]), Ok(json!(4096)));
        assert_eq!(parse("temperature", &["1"]), Ok(json!(1.0)));
        assert_eq!(parse("use_mmap", &["T"]), Ok(json!(true)));
        assert_eq!(parse("stop", &["a", "b"]), Ok(json!(["a", "b"])));
        assert_eq!(
            parse("num_ctx", &["1.5"]),
            Err("invalid int value [1.5]".to_owned())
        );
        assert_eq!(
            parse("top_p", &["x"]),
            Err("invalid float value [x]".to_owned())
        );
        assert_eq!(
            parse("use_mmap", &["no"]),
            Err("invalid bool value [no]".to_owned())
        );
        assert_eq!(parse("x", &["1"]), Err("unknown parameter 'x'".to_owned()));
    }
}
